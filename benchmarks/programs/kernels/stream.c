/* Sets and copies, 16 bytes at a time: a unit does 4 MB of the 64 MB in two halves. */
#include "kernels.h"

#include <emmintrin.h>
#include <sys/mman.h>

#define HALF_BYTES (32u << 20)
#define UNIT_BYTES (4u << 20)

static uint8_t *target, *source;

static void set(uint8_t *to, uint8_t value, size_t bytes)
{
    __m128i pattern = _mm_set1_epi8((char)value);
    for (size_t at = 0; at < bytes; at += 32) {
        _mm_store_si128((__m128i *)(to + at), pattern);
        _mm_store_si128((__m128i *)(to + at + 16), pattern);
    }
}

static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 32) {
        __m128i low = _mm_load_si128((const __m128i *)(from + at));
        __m128i high = _mm_load_si128((const __m128i *)(from + at + 16));
        _mm_store_si128((__m128i *)(to + at), low);
        _mm_store_si128((__m128i *)(to + at + 16), high);
    }
}

void stream_prepare(void)
{
    uint8_t *memory =
        mmap(NULL, 2 * HALF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    source = memory;
    target = memory + HALF_BYTES;
}

uint64_t stream_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned unit = 0; unit < units; unit++) {
        size_t at = (size_t)unit * UNIT_BYTES % HALF_BYTES;
        set(source + at, (uint8_t)unit, UNIT_BYTES);
        copy(target + at, source + at, UNIT_BYTES);
        sum = sum * 31 + target[at + unit % UNIT_BYTES];
    }
    return sum;
}
