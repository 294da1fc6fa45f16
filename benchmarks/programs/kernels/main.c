#include "kernels.h"

/* Each takes about a fifth of a second on a processor of 2024; those that an emulator is slowest at, less. */
static const struct work kernels[] = {
    {"bytecode", NULL, bytecode_run, 220},
    {"qsort", qsort_prepare, qsort_run, 80},
    {"sha256", sha256_prepare, sha256_run, 80},
    {"chase", chase_prepare, chase_run, 40},
    {"stream", stream_prepare, stream_run, 200},
    {"matmul_o2", matmul_o2_prepare, matmul_o2_run, 100},
    {"matmul_o3", matmul_o3_prepare, matmul_o3_run, 200},
    {"dispatch", dispatch_prepare, dispatch_run, 200},
    {"fib", NULL, fib_run, 200},
    {"hash", hash_prepare, hash_run, 400},
    {"movsb", movsb_prepare, movsb_run, 50},
    {"utf8", utf8_prepare, utf8_run, 160},
    {"tree", NULL, tree_run, 80},
};

int main(int argc, char **argv)
{
    return harness(argc, argv, kernels, sizeof kernels / sizeof *kernels);
}
