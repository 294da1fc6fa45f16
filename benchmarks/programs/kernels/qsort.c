/* Quicksort of 32-bit numbers, which compares through a pointer as qsort(3) does. */
#include "kernels.h"

#define COUNT 32768
#define SMALL 12

static uint32_t source[COUNT], numbers[COUNT];

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t old = *a;
    *a = *b;
    *b = old;
}

static void sort(uint32_t *first, uint32_t *last, int (*compare)(const void *, const void *))
{
    while (last - first > SMALL) {
        uint32_t *left = first, *right = last, pivot = first[(last - first) / 2];
        while (left <= right) {
            while (compare(left, &pivot) < 0)
                left++;
            while (compare(right, &pivot) > 0)
                right--;
            if (left <= right)
                swap(left++, right--);
        }
        sort(first, right, compare);
        first = left;
    }
    for (uint32_t *end = first + 1; end <= last; end++)
        for (uint32_t *at = end; at > first && compare(at - 1, at) > 0; at--)
            swap(at - 1, at);
}

void qsort_prepare(void)
{
    uint64_t state = 1;
    for (unsigned i = 0; i < COUNT; i++)
        source[i] = (uint32_t)next_random(&state);
}

/* Called through here, so that the compiler does not know what it compares with. */
static int (*volatile comparison)(const void *, const void *) = compare_numbers;

uint64_t qsort_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned unit = 0; unit < units; unit++) {
        for (unsigned i = 0; i < COUNT; i++)
            numbers[i] = source[i] ^ unit * 0x9E3779B9u;
        sort(numbers, numbers + COUNT - 1, comparison);
        for (unsigned i = 0; i < COUNT; i += 1024)
            sum = sum * 31 + numbers[i];
    }
    return sum;
}
