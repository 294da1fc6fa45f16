/* Bytes one by one: checks that text is UTF-8 (RFC 3629), counts its words and keeps their CRC-32, by a table. */
#include "kernels.h"

#define BYTES 65536
#define UNIT_PASSES 8

static uint8_t text[BYTES];
static uint32_t crc_of_byte[256];

static size_t encode(uint8_t *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xc0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 63));
        return 2;
    }
    to[0] = (uint8_t)(0xe0 | point >> 12);
    to[1] = (uint8_t)(0x80 | (point >> 6 & 63));
    to[2] = (uint8_t)(0x80 | (point & 63));
    return 3;
}

void utf8_prepare(void)
{
    uint64_t state = 5;
    size_t at = 0;
    while (at < BYTES - 3) {
        uint32_t kind = (uint32_t)(next_random(&state) >> 40) % 16, letter = (uint32_t)(state >> 30) % 26;
        if (kind < 3)
            text[at++] = ' ';
        else
            at += encode(text + at, kind < 14 ? 'a' + letter : kind == 14 ? 0x3b1 + letter : 0x4e00 + letter);
    }
    while (at < BYTES)
        text[at++] = '\n';
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        crc_of_byte[byte] = crc;
    }
}

static uint64_t scan(uint32_t *crc)
{
    uint64_t words = 0, errors = 0;
    unsigned expected = 0, is_in_word = 0;
    for (const uint8_t *at = text; at < text + BYTES; at++) {
        uint8_t byte = *at;
        *crc = *crc >> 8 ^ crc_of_byte[(*crc ^ byte) & 255];
        if (expected > 0) {
            errors += (byte & 0xc0) != 0x80;
            expected--;
        } else if (byte >= 0xc2) {
            expected = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        } else {
            errors += byte >= 0x80;
        }
        unsigned is_space = byte == ' ' || byte == '\n';
        words += is_in_word & is_space;
        is_in_word = !is_space;
    }
    return words + (errors << 32);
}

uint64_t utf8_run(unsigned units)
{
    uint64_t sum = 0;
    uint32_t crc = 0;
    for (unsigned pass = 0; pass < units * UNIT_PASSES; pass++)
        sum += scan(&crc);
    return sum ^ (uint64_t)crc << 32;
}
