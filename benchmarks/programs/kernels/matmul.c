/* A product of matrices of doubles. Compiled twice: MATMUL is matmul_o2, which stays scalar, or matmul_o3. */
#include "kernels.h"

#define SIZE 128
#define UNIT_PRODUCTS 2
#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)

static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

void NAME(MATMUL, _prepare)(void)
{
    for (int row = 0; row < SIZE; row++)
        for (int column = 0; column < SIZE; column++) {
            a[row][column] = (row * 3 + column) % 17;
            b[row][column] = (row + column * 5) % 13;
        }
}

/* In the order that goes along the rows: it can be vectorised with no change of the result. */
static void multiply(void)
{
    for (int row = 0; row < SIZE; row++) {
        for (int column = 0; column < SIZE; column++)
            c[row][column] = 0;
        for (int inner = 0; inner < SIZE; inner++) {
            double factor = a[row][inner];
            for (int column = 0; column < SIZE; column++)
                c[row][column] += factor * b[inner][column];
        }
    }
}

uint64_t NAME(MATMUL, _run)(unsigned units)
{
    double sum = 0;
    for (unsigned product = 0; product < units * UNIT_PRODUCTS; product++) {
        a[product % SIZE][0] = product % 7;
        multiply();
        sum += c[product % SIZE][product / SIZE % SIZE];
    }
    return (uint64_t)sum;
}
