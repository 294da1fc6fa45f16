/* A hash table of 1 MB with open addressing: inserts, finds, and counts. */
#include "kernels.h"

#define SLOTS (1u << 16)
#define KEYS (SLOTS / 2)

static struct {
    uint64_t key, count;
} slots[SLOTS];

static uint64_t add(uint64_t key)
{
    uint64_t slot = key * 0x9E3779B97F4A7C15u >> 48;
    while (slots[slot].key != key && slots[slot].key != 0)
        slot = (slot + 1) % SLOTS;
    slots[slot].key = key;
    return ++slots[slot].count;
}

void hash_prepare(void)
{
    for (unsigned slot = 0; slot < SLOTS; slot++)
        slots[slot].key = slots[slot].count = 0;
}

uint64_t hash_run(unsigned units)
{
    uint64_t state = 4, sum = 0;
    hash_prepare();
    for (unsigned unit = 0; unit < units; unit++)
        for (unsigned i = 0; i < 4 * KEYS; i++)
            sum += add(1 + next_random(&state) % KEYS);
    return sum;
}
