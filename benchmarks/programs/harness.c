#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The CPU time of this process and of the children that it has waited for. */
static double cpu_seconds(void)
{
    struct timespec own;
    struct rusage children;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)(own.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) + (double)own.tv_nsec / 1e9 +
           (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec) / 1e6;
}

/* A line leaves the machine before the next work begins: whoever reads it looks at the VMM's clock then. */
static void drain(void)
{
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
}

static void measure(const struct work *work, unsigned scale, unsigned repetitions)
{
    unsigned units = work->units * scale / 100;
    if (units == 0)
        units = 1;
    if (work->prepare != NULL)
        work->prepare();
    work->run(1 + units / 10);
    printf("start %s\n", work->name);
    drain();
    for (unsigned repetition = 0; repetition < repetitions; repetition++) {
        double before = cpu_seconds();
        uint64_t checksum = work->run(units);
        double seconds = cpu_seconds() - before;
        printf("done %s %u %.6f %016llx\n", work->name, units, seconds, (unsigned long long)checksum);
        drain();
    }
}

static int is_named(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return count == 0;
}

/* What a program may expect to find, in a guest whose kernel has started nothing else. */
static void prepare_guest(void)
{
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mkdir("/tmp", 01777);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    setenv("PATH", "/usr/bin:/bin", 1);
}

/* One CPU for all machines: a guest has but one. */
static void stay_on_one_cpu(void)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((unsigned)sched_getcpu(), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

int harness(int argc, char **argv, const struct work *works, size_t count)
{
    unsigned scale = 100, repetitions = 3;
    int option, is_init = getpid() == 1;

    while ((option = getopt(argc, argv, "s:r:")) != -1) {
        if (option == 's')
            scale = (unsigned)atoi(optarg);
        else if (option == 'r')
            repetitions = (unsigned)atoi(optarg);
    }
    if (is_init)
        prepare_guest();
    stay_on_one_cpu();
    for (size_t i = 0; i < count; i++)
        if (is_named(works[i].name, argv + optind, argc - optind))
            measure(&works[i], scale, repetitions);
    printf("end\n");
    drain();
    if (is_init)
        reboot(RB_POWER_OFF);
    return 0;
}
