/* What an operating system does for programs: system calls, processes, page faults, pipes; and whole programs, whose
   files are those of Debian's packages. */
#define _GNU_SOURCE
#include "../harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define REGION_PAGES 4096
#define ROUND_TRIPS 1000
#define TEXT "/tmp/text"
#define OUTPUT "/tmp/output"
#define MOST_FILES 1000

static void must(int is_ok, const char *what)
{
    if (!is_ok) {
        perror(what);
        exit(1);
    }
}

static uint64_t getppid_run(unsigned units)
{
    uint64_t calls = 0;
    for (unsigned unit = 0; unit < units; unit++)
        for (int i = 0; i < 1000; i++)
            calls += syscall(SYS_getppid) >= 0;
    return calls;
}

static uint64_t fork_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned unit = 0; unit < units; unit++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(unit & 127);
        must(child > 0 && waitpid(child, &status, 0) == child, "fork");
        sum += (uint64_t)WEXITSTATUS(status);
    }
    return sum;
}

static uint64_t fault_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned unit = 0; unit < units; unit++) {
        size_t bytes = REGION_PAGES * PAGE_BYTES;
        uint8_t *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(region != MAP_FAILED, "mmap");
        madvise(region, bytes, MADV_NOHUGEPAGE);
        for (unsigned page = 0; page < REGION_PAGES; page++)
            sum += ++region[page * PAGE_BYTES];
        munmap(region, bytes);
    }
    return sum;
}

static uint64_t pipe_run(unsigned units)
{
    int there[2], back[2], token = 0, status;
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &token, sizeof token) == sizeof token) {
            token++;
            if (write(back[1], &token, sizeof token) != sizeof token)
                _exit(1);
        }
        _exit(0);
    }
    for (unsigned trip = 0; trip < units * ROUND_TRIPS; trip++)
        must(write(there[1], &token, sizeof token) == sizeof token && read(back[0], &token, sizeof token) == sizeof token,
             "pipe");
    close(there[0]);
    close(there[1]);
    close(back[0]);
    close(back[1]);
    must(waitpid(child, &status, 0) == child, "waitpid");
    return (uint64_t)token;
}

/* Runs a program and hashes (FNV-1a) what it wrote. */
static uint64_t output_of(char *const command[])
{
    int status;
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        must(freopen(OUTPUT, "w", stdout) != NULL, OUTPUT);
        execvp(command[0], command);
        must(0, command[0]);
    }
    must(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, command[0]);
    FILE *output = fopen(OUTPUT, "r");
    must(output != NULL, OUTPUT);
    uint64_t hash = 0xcbf29ce484222325u;
    for (int byte; (byte = getc_unlocked(output)) != EOF;)
        hash = (hash ^ (uint64_t)byte) * 0x100000001b3u;
    fclose(output);
    return hash;
}

/* 4 MB of words out of a small vocabulary, which compress as prose does. */
static void gzip_prepare(void)
{
    static char text[4 << 20];
    char words[512][12];
    uint64_t state = 7;
    for (unsigned word = 0; word < 512; word++) {
        unsigned length = 1 + (unsigned)(next_random(&state) >> 40) % 10;
        for (unsigned i = 0; i < length; i++)
            words[word][i] = (char)('a' + (next_random(&state) >> 40) % 26);
        words[word][length] = 0;
    }
    for (size_t at = 0; at < sizeof text;) {
        uint64_t random = next_random(&state) >> 32;
        /* the product favours the words at the front */
        for (const char *letter = words[random % 512 * (random / 512 % 512) / 512]; *letter && at < sizeof text;)
            text[at++] = *letter++;
        if (at < sizeof text)
            text[at++] = ' ';
    }
    FILE *file = fopen(TEXT, "w");
    must(file != NULL && fwrite(text, sizeof text, 1, file) == 1 && fclose(file) == 0, TEXT);
}

/* A unit is one more file to compress. */
static uint64_t gzip_run(unsigned units)
{
    char *command[MOST_FILES + 3] = {"gzip", "-cn"};
    must(units <= MOST_FILES, "gzip");
    for (unsigned unit = 0; unit < units; unit++)
        command[2 + unit] = TEXT;
    return output_of(command);
}

static uint64_t python_run(unsigned units)
{
    char *command[] = {"python3", "-c", "print(sum(number * number for number in range(100)))", NULL};
    uint64_t hash = 0;
    for (unsigned unit = 0; unit < units; unit++)
        hash = hash * 31 + output_of(command);
    return hash;
}

/* Compiles this very file. */
static uint64_t gcc_run(unsigned units)
{
    char *command[] = {"gcc", "-O2", "-c", "-o", OUTPUT, "/usr/src/os_work/main.c", NULL};
    uint64_t hash = 0;
    for (unsigned unit = 0; unit < units; unit++)
        hash = hash * 31 + output_of(command);
    return hash;
}

static const struct work works[] = {
    {"getppid", NULL, getppid_run, 1000},
    {"fork", NULL, fork_run, 1000},
    {"fault", NULL, fault_run, 20},
    {"pipe", NULL, pipe_run, 20},
    {"gzip", gzip_prepare, gzip_run, 16},
    {"python3", NULL, python_run, 25},
    {"gcc", NULL, gcc_run, 3},
};

int main(int argc, char **argv)
{
    return harness(argc, argv, works, sizeof works / sizeof *works);
}
