/* Vector registers across system calls, task switches and signals: several processes at once, each with
   values of its own in all registers that the processor has. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 6
#define ROUNDS 200

#define EACH_16(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) \
    do(8) do(9) do(10) do(11) do(12) do(13) do(14) do(15)
#define EACH_32(do) EACH_16(do) do(16) do(17) do(18) do(19) do(20) do(21) do(22) do(23) \
    do(24) do(25) do(26) do(27) do(28) do(29) do(30) do(31)
#define EACH_MASK(do) do(1) do(2) do(3) do(4) do(5) do(6) do(7)

#define LOAD_YMM(n) "vmovdqu 64*" #n "(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", 64*" #n "(%[out])\n"
#define LOAD_ZMM(n) "vmovdqu64 64*" #n "(%[in]), %%zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%[out])\n"
#define CLEAR_ZMM(n) "vpternlogd $0xff, %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n"
#define LOAD_MASK(n) "kmovq 2048+8*" #n "(%[in]), %%k" #n "\n"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+8*" #n "(%[out])\n"
#define CLEAR_MASK(n) "kxnorq %%k0, %%k0, %%k" #n "\n"

struct state {
    uint64_t vector[32][8];
    uint64_t mask[8];
};

static int has_avx, has_avx512;
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
    if (has_avx512)
        __asm__ volatile(EACH_32(CLEAR_ZMM) EACH_MASK(CLEAR_MASK)::: "memory");
    else if (has_avx)
        __asm__ volatile("vzeroall" ::: "memory");
}

/* A system call with `in` in the registers; `out` is what they hold afterwards. */
static void call_with(const struct state *in, struct state *out, long number, long a, long b)
{
    register long rax __asm__("rax") = number;
    register long rdi __asm__("rdi") = a;
    register long rsi __asm__("rsi") = b;
    if (has_avx512)
        __asm__ volatile(EACH_32(LOAD_ZMM) EACH_MASK(LOAD_MASK) "syscall\n" EACH_32(STORE_ZMM) EACH_MASK(STORE_MASK)
            "vzeroupper" : "+r"(rax) : "r"(rdi), "r"(rsi), [in] "r"(in), [out] "r"(out) : "rcx", "r11", "memory",
            "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
            "xmm13", "xmm14", "xmm15");
    else
        __asm__ volatile(EACH_16(LOAD_YMM) "syscall\n" EACH_16(STORE_YMM)
            "vzeroupper" : "+r"(rax) : "r"(rdi), "r"(rsi), [in] "r"(in), [out] "r"(out) : "rcx", "r11", "memory",
            "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
            "xmm13", "xmm14", "xmm15");
}

static int differs(const struct state *a, const struct state *b)
{
    int words = has_avx512 ? 8 : 4, registers = has_avx512 ? 32 : 16, bad = 0;
    for (int n = 0; n < registers; n++)
        bad += memcmp(a->vector[n], b->vector[n], words * 8) != 0;
    for (int n = 1; has_avx512 && n < 8; n++)
        bad += a->mask[n] != b->mask[n];
    return bad;
}

static int work(unsigned seed)
{
    static struct state in __attribute__((aligned(64))), out __attribute__((aligned(64)));
    uint64_t value = seed * 0x9e3779b97f4a7c15u + 1;
    int bad = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t *words = (uint64_t *)&in;
        for (size_t k = 0; k < sizeof in / 8; k++)
            words[k] = value = value * 6364136223846793005u + 1442695040888963407u;
        call_with(&in, &out, SYS_sched_yield, 0, 0);
        bad += differs(&in, &out);
        call_with(&in, &out, SYS_kill, getpid(), SIGUSR1);
        bad += differs(&in, &out);
    }
    return bad + (signals != ROUNDS);
}

int main(void)
{
    int failures = 0;
    __builtin_cpu_init();
    has_avx = __builtin_cpu_supports("avx") != 0;
    has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    printf("avx %d avx512 %d\n", has_avx, has_avx512);
    if (!has_avx)
        return 1;
    signal(SIGUSR1, on_signal);
    for (unsigned k = 0; k < PROCESSES; k++) {
        fflush(stdout);
        if (fork() == 0)
            _exit(work(k + 1) != 0);
    }
    for (int k = 0; k < PROCESSES; k++) {
        int status = 0;
        wait(&status);
        failures += status != 0;
    }
    printf("vectors: %d failures\n", failures);
    return 0;
}
