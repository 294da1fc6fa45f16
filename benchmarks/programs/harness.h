/* Runs pieces of work, as a process or as the first process of a guest, and prints what each took. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stddef.h>
#include <stdint.h>

struct work {
    const char *name;
    /* Makes the data; not timed. May be NULL. */
    void (*prepare)(void);
    /* Does so many units; returns a checksum that must be the same on every machine. */
    uint64_t (*run)(unsigned units);
    /* At a scale of 100. */
    unsigned units;
};

/* main(): [-s SCALE_PERCENT] [-r REPETITIONS] [NAME]..., all works where none is named. As the first process
   of a guest it powers the machine off at the end. Prints "start NAME" and then, a line a repetition,
   "done NAME UNITS CPU_SECONDS CHECKSUM"; "end" when all is done. */
int harness(int argc, char **argv, const struct work *works, size_t count);

/* A generator of numbers that are the same everywhere: xorshift64*. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Du;
}

#endif
