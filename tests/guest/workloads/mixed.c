/* Work whose every result is printed: sorting, hashing, floating point, recursion, strings, 128-bit integers. */
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252u;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort(void)
{
    static uint64_t numbers[200000];
    enum { COUNT = sizeof numbers / sizeof *numbers };
    uint64_t sum = 0;
    for (int i = 0; i < COUNT; i++)
        numbers[i] = draw();
    qsort(numbers, COUNT, sizeof *numbers, by_value);
    for (int i = 0; i < COUNT; i++)
        sum = sum * 31 + numbers[i];
    printf("sort %016llx\n", (unsigned long long)sum);
}

static void wide(void)
{
    unsigned __int128 product = 1, divisor, sum = 0;
    for (int i = 0; i < 100000; i++) {
        product = product * (draw() | 1) + i;
        divisor = (unsigned __int128)(draw() >> (i & 63)) * 3 + 1;
        sum += product / divisor ^ product % divisor;
    }
    printf("wide %016llx%016llx\n", (unsigned long long)(sum >> 64), (unsigned long long)sum);
}

/* Each step is correctly rounded by IEEE 754, so that no processor may differ in a single bit. */
static void floating(void)
{
    double x = 0.5, sum = 0;
    float single = 0.25f;
    long double extended = 1.0L;
    for (int i = 1; i < 300000; i++) {
        x = 3.99 * x * (1 - x);
        sum += sqrt(x) / i;
        single = single * 1.0001f + (float)x;
        extended = extended * 1.00000001L + (long double)x / 3;
        if (i % 1000 == 0)
            single = fmodf(single, 7.0f);
    }
    printf("floating %a %a %a %La\n", x, sum, single, extended);
    printf("conversions %lld %d %.17g %.9g\n", (long long)(sum * 1e15), (int)-x, sum, single);
}

static int queens(int rows, unsigned columns, unsigned left, unsigned right)
{
    int found = 0;
    if (rows == 0)
        return 1;
    for (unsigned free = 0x3FF & ~(columns | left | right); free; free &= free - 1) {
        unsigned queen = free & -free;
        found += queens(rows - 1, columns | queen, (left | queen) << 1, (right | queen) >> 1);
    }
    return found;
}

static void strings(void)
{
    char text[4096] = "", word[32];
    unsigned long hash = 5381;
    for (int i = 0; i < 2000; i++) {
        snprintf(word, sizeof word, "%llx,%d;", (unsigned long long)draw(), i % 97);
        if (strlen(text) + strlen(word) >= sizeof text)
            memmove(text, text + 1024, strlen(text + 1024) + 1);
        strcat(text, word);
        for (const char *c = strrchr(text, ','); *c; c++)
            hash = hash * 33 + (unsigned char)*c;
    }
    printf("strings %lx %zu %d\n", hash, strlen(text), memcmp(text, text + 100, 100) > 0);
}

static void jumps(void)
{
    static jmp_buf back;
    static volatile int count;
    if (setjmp(back) < 10000) {
        count++;
        longjmp(back, count);
    }
    printf("jumps %d\n", count);
}

int main(void)
{
    sort();
    wide();
    floating();
    printf("queens %d\n", queens(10, 0, 0, 0));
    strings();
    jumps();
    return 0;
}
