/* REP MOVSB of 4 KB. */
#include "kernels.h"

#define BYTES 4096
#define UNIT_COPIES 20000

static uint8_t from[BYTES] __attribute__((aligned(4096))), to[BYTES] __attribute__((aligned(4096)));

void movsb_prepare(void)
{
    for (unsigned i = 0; i < BYTES; i++)
        from[i] = (uint8_t)(i * 11);
}

uint64_t movsb_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned copy = 0; copy < units * UNIT_COPIES; copy++) {
        void *destination = to;
        const void *source = from;
        size_t count = BYTES;
        from[copy % BYTES] = (uint8_t)copy;
        __asm__ volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(count)::"memory");
        sum = sum * 31 + to[copy % BYTES];
    }
    return sum;
}
