/* Each load's address is what the load before it found: one cycle through 32 KB in a random order. */
#include "kernels.h"

#define COUNT (32768 / sizeof(void *))
#define UNIT_STEPS 2500000

static void *cells[COUNT];

void chase_prepare(void)
{
    unsigned order[COUNT];
    uint64_t state = 2;
    for (unsigned i = 0; i < COUNT; i++)
        order[i] = i;
    for (unsigned i = COUNT - 1; i > 0; i--) {
        unsigned other = (unsigned)(next_random(&state) >> 32) % (i + 1), old = order[i];
        order[i] = order[other];
        order[other] = old;
    }
    for (unsigned i = 0; i < COUNT; i++)
        cells[order[i]] = &cells[order[(i + 1) % COUNT]];
}

uint64_t chase_run(unsigned units)
{
    void **at = cells;
    for (uint64_t step = 0; step < (uint64_t)units * UNIT_STEPS; step++)
        at = *at;
    return (uint64_t)(at - cells);
}
