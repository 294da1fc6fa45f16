/* Calls and returns: Fibonacci's numbers by their definition. */
#include "kernels.h"

__attribute__((noinline)) static uint64_t fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t fib_run(unsigned units)
{
    uint64_t sum = 0;
    for (unsigned unit = 0; unit < units; unit++)
        sum += fib(28);
    return sum;
}
