/* Many processes: fork with copy on write, pipes, signals, timers, floating point across switches.
   Prints "ok NAME" or "bad NAME" a line; exits 0 when all are ok. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 16
#define ROUNDS 200

static int failures;

static void check(const char *name, int is_ok)
{
    printf("%s %s\n", is_ok ? "ok" : "bad", name);
    failures += !is_ok;
}

static int wait_all(int children)
{
    int good = 0;
    for (int i = 0; i < children; i++) {
        int status;
        if (wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            good++;
    }
    return good;
}

static void copy_on_write(void)
{
    enum { PAGES = 64 };
    char *memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int page = 0; page < PAGES; page++)
        memory[page * 4096] = (char)page;
    for (int child = 0; child < CHILDREN; child++)
        if (fork() == 0) {
            for (int page = 0; page < PAGES; page++) {
                if (memory[page * 4096] != (char)page)
                    _exit(1);
                memory[page * 4096] = (char)(page + child + 1);
            }
            sched_yield();
            for (int page = 0; page < PAGES; page++)
                if (memory[page * 4096] != (char)(page + child + 1))
                    _exit(2);
            _exit(0);
        }
    int good = wait_all(CHILDREN);
    for (int page = 0; page < PAGES; page++)
        good -= memory[page * 4096] != (char)page;
    check("fork and copy on write", good == CHILDREN);
}

static void ring_of_pipes(void)
{
    int first[2], from, token = 0;
    if (pipe(first))
        exit(3);
    from = first[0];
    for (int child = 0; child < CHILDREN; child++) {
        int next[2];
        if (pipe(next))
            exit(3);
        if (fork() == 0) {
            close(first[1]);
            close(next[0]);
            while (read(from, &token, sizeof token) == sizeof token) {
                token++;
                if (write(next[1], &token, sizeof token) != sizeof token)
                    _exit(1);
            }
            _exit(0);
        }
        close(from);
        close(next[1]);
        from = next[0];
    }
    for (int round = 0; round < ROUNDS; round++)
        if (write(first[1], &token, sizeof token) != sizeof token || read(from, &token, sizeof token) != sizeof token)
            break;
    close(first[1]);
    check("pipes", wait_all(CHILDREN) == CHILDREN && token == ROUNDS * CHILDREN);
}

static volatile sig_atomic_t caught;
static void count(int number) { (void)number; caught++; }

static void signals_between_processes(void)
{
    int ready[2];
    char byte;
    if (pipe(ready))
        exit(3);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pid_t child = fork();
    if (child == 0) {
        int taken = 0, number;
        sigprocmask(SIG_BLOCK, &usr1, NULL);
        while (taken < ROUNDS) {
            if (write(ready[1], "x", 1) != 1)
                _exit(1);
            if (sigwait(&usr1, &number) == 0)
                taken++;
        }
        _exit(0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (read(ready[0], &byte, 1) != 1)
            break;
        kill(child, SIGUSR1);
    }
    check("signals between processes", wait_all(1) == 1);

    child = fork();
    if (child == 0)
        for (;;)
            ;
    int status;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    check("a spinning process is killed", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void timer_against_spinner(void)
{
    struct itimerval every = {{0, 20000}, {0, 20000}}, off = {{0, 0}, {0, 0}};
    struct timespec begin, now;
    signal(SIGALRM, count);
    caught = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    setitimer(ITIMER_REAL, &every, NULL);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (caught < 5 && now.tv_sec - begin.tv_sec < 20);
    setitimer(ITIMER_REAL, &off, NULL);
    long ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
    check("timer signals interrupt a loop", caught >= 5 && ms >= 95);
}

/* Each child works in x87 and SSE with its own numbers while the others do, and is switched away a lot. */
static void floating_point(void)
{
    for (int child = 0; child < CHILDREN; child++)
        if (fork() == 0) {
            volatile long double x = child + 1;
            volatile double y = child + 1;
            for (int round = 0; round < ROUNDS; round++) {
                x = x * 3 / 3;
                y = y * 5 / 5;
                if (round % 10 == 0)
                    sched_yield();
            }
            _exit(!(x == child + 1 && y == child + 1));
        }
    check("floating point across switches", wait_all(CHILDREN) == CHILDREN);
}

static void shared_memory(void)
{
    int *counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int child = 0; child < CHILDREN; child++)
        if (fork() == 0) {
            for (int round = 0; round < ROUNDS; round++)
                __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
            _exit(0);
        }
    check("atomic operations on shared memory", wait_all(CHILDREN) == CHILDREN && *counter == CHILDREN * ROUNDS);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    copy_on_write();
    ring_of_pipes();
    signals_between_processes();
    timer_against_spinner();
    floating_point();
    shared_memory();
    printf("processes: %d failures\n", failures);
    return failures != 0;
}
