/* The compute kernels. A unit takes some milliseconds on bare hardware. None calls the C library's string functions,
   which choose their code by CPU model. */
#ifndef KERNELS_H
#define KERNELS_H

#include "../harness.h"

void qsort_prepare(void);
void sha256_prepare(void);
void chase_prepare(void);
void stream_prepare(void);
void matmul_o2_prepare(void);
void matmul_o3_prepare(void);
void dispatch_prepare(void);
void hash_prepare(void);
void movsb_prepare(void);
void utf8_prepare(void);

uint64_t bytecode_run(unsigned units);
uint64_t qsort_run(unsigned units);
uint64_t sha256_run(unsigned units);
uint64_t chase_run(unsigned units);
uint64_t stream_run(unsigned units);
uint64_t matmul_o2_run(unsigned units);
uint64_t matmul_o3_run(unsigned units);
uint64_t dispatch_run(unsigned units);
uint64_t fib_run(unsigned units);
uint64_t hash_run(unsigned units);
uint64_t movsb_run(unsigned units);
uint64_t utf8_run(unsigned units);
uint64_t tree_run(unsigned units);

#endif
