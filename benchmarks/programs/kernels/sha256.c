/* SHA-256 of 64 KB at a time: FIPS 180-4, in plain C. */
#include "kernels.h"

#include <math.h>

#define BYTES 65536
#define UNIT_PASSES 8

static uint32_t constants[64], start[8];
static uint8_t message[BYTES];

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i];
        uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/* The first 32 bits of a root's fractional part: all of them are below 2^5, so a double's 53 bits suffice. */
static uint32_t fraction(double root)
{
    return (uint32_t)((root - floor(root)) * 4294967296.0);
}

void sha256_prepare(void)
{
    unsigned found = 0;
    for (unsigned candidate = 2; found < 64; candidate++) {
        unsigned divisor = 2;
        while (divisor * divisor <= candidate && candidate % divisor != 0)
            divisor++;
        if (divisor * divisor <= candidate)
            continue;
        if (found < 8)
            start[found] = fraction(sqrt(candidate));
        constants[found++] = fraction(cbrt(candidate));
    }
    for (unsigned i = 0; i < BYTES; i++)
        message[i] = (uint8_t)(i * 7 + (i >> 8));
}

uint64_t sha256_run(unsigned units)
{
    uint32_t state[8];
    for (int i = 0; i < 8; i++)
        state[i] = start[i];
    for (unsigned pass = 0; pass < units * UNIT_PASSES; pass++)
        for (unsigned at = 0; at < BYTES; at += 64)
            compress(state, message + at);
    return (uint64_t)state[0] << 32 | state[7];
}
