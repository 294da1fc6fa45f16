/* Bytes and text. */
#include "sys.h"

void *memcpy(void *to, const void *from, size n)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size n)
{
    if ((size)to - (size)from >= n)
        return memcpy(to, from, n);
    while (n--)
        ((u8 *)to)[n] = ((const u8 *)from)[n];
    return to;
}

void *memset(void *to, int value, size n)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(value) : "memory");
    return to;
}

size length(const char *text)
{
    size n = 0;
    while (text[n])
        n++;
    return n;
}

int is_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int starts(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return 0;
    return 1;
}

s64 number(const char *text, const char *end)
{
    s64 value = 0;
    if (text == end || end - text > 10)
        return -1;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value > 0xFFFFFFFFLL ? -1 : value;
}

char *put_text(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    *to = 0;
    return to;
}

/* Without the library's 64-bit division. */
struct timespec from_ns(s64 ns)
{
    const u32 second = 1000000000;
    u32 high = (u64)ns >> 32, low, rest;
    __asm__("divl %4" : "=a"(low), "=d"(rest) : "a"((u32)ns), "d"(high % second), "r"(second) : "cc");
    return (struct timespec){(s64)(high / second) << 32 | low, rest};
}

char *put_number(char *to, u32 value)
{
    char digits[10];
    int n = 0;
    do
        digits[n++] = '0' + value % 10;
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    *to = 0;
    return to;
}

size read_file(const char *path, char *to, size room)
{
    size n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC, 0);
    while (fd >= 0 && n < room - 1) {
        long got = read(fd, to + n, room - 1 - n);
        if (got <= 0)
            break;
        n += got;
    }
    if (fd >= 0)
        close(fd);
    to[n] = 0;
    return n;
}
