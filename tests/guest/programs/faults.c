/* Processor exceptions as a process meets them: each is provoked, and has to come back as its signal
   with the fault's address and reason. Prints "ok NAME" or "bad NAME ..." a line; exits 0 when all are ok. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef SI_KERNEL
#define SI_KERNEL 0x80
#endif

static sigjmp_buf back;
static volatile sig_atomic_t signo, code;
static void *volatile address;
static int failures;

static void handler(int number, siginfo_t *info, void *context)
{
    (void)context;
    signo = number;
    code = info->si_code;
    address = info->si_addr;
    siglongjmp(back, 1);
}

static void expect(const char *name, void (*provoke)(void), int want_signo, int want_code, void *want_address)
{
    signo = code = 0;
    address = NULL;
    if (sigsetjmp(back, 1) == 0)
        provoke();
    if (signo == want_signo && code == want_code && (want_address == NULL || address == want_address)) {
        printf("ok %s\n", name);
        return;
    }
    printf("bad %s: signal %d code %d address %p\n", name, (int)signo, (int)code, address);
    failures++;
}

static char *page;

static void read_unmapped(void) { *(volatile char *)0x10; }
static void write_read_only(void) { *(volatile char *)(page + 0x123) = 1; }
static void run_data(void) { ((void (*)(void))(page + 0x40))(); }
static void divide(void) { __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"); }
static void divide_overflow(void) { __asm__ volatile("mov $2, %%edx; xor %%eax, %%eax; mov $1, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"); }
static void privileged(void) { __asm__ volatile("hlt"); }
static void port(void) { __asm__ volatile("inb $0x60, %%al" ::: "eax"); }
static void not_canonical(void) { *(volatile char *)0x8000000000000000; }
static void undefined(void) { __asm__ volatile("ud2"); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void misaligned(void)
{
    static char buffer[64] __attribute__((aligned(16)));
    __asm__ volatile("movaps %%xmm0, 1(%0)" ::"r"(buffer) : "memory");
}
static void single_step(void)
{
    __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop" ::: "memory", "cc");
}
static void float_divide(void)
{
    uint32_t control = 0x1f80 & ~0x200; /* unmask divide by zero */
    __asm__ volatile("ldmxcsr %0; xorps %%xmm1, %%xmm1; movss %1, %%xmm0; divss %%xmm1, %%xmm0" ::"m"(control), "m"((float){1.0f}) : "xmm0", "xmm1");
}
static void x87_divide(void)
{
    uint16_t control = 0x037f & ~4;
    __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(control));
}

int main(void)
{
    static char stack[65536];
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS};

    setvbuf(stdout, NULL, _IONBF, 0);
    sigaltstack(&alternate, NULL);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(page, 0xc3, 4096);
    mprotect(page, 4096, PROT_READ);

    for (int round = 0; round < 3; round++) {
        expect("read of an unmapped page", read_unmapped, SIGSEGV, SEGV_MAPERR, (void *)0x10);
        expect("write to a read-only page", write_read_only, SIGSEGV, SEGV_ACCERR, page + 0x123);
        expect("no-execute", run_data, SIGSEGV, SEGV_ACCERR, page + 0x40);
        expect("divide by zero", divide, SIGFPE, FPE_INTDIV, NULL);
        expect("divide overflow", divide_overflow, SIGFPE, FPE_INTDIV, NULL);
        expect("privileged instruction", privileged, SIGSEGV, SI_KERNEL, NULL);
        expect("port access", port, SIGSEGV, SI_KERNEL, NULL);
        expect("address not canonical", not_canonical, SIGSEGV, SI_KERNEL, NULL);
        expect("undefined instruction", undefined, SIGILL, ILL_ILLOPN, NULL);
        expect("breakpoint", breakpoint, SIGTRAP, SI_KERNEL, NULL);
        expect("misaligned SSE access", misaligned, SIGSEGV, SI_KERNEL, NULL);
        expect("single step", single_step, SIGTRAP, TRAP_TRACE, NULL);
        expect("SSE division by zero", float_divide, SIGFPE, FPE_FLTDIV, NULL);
        expect("x87 division by zero", x87_divide, SIGFPE, FPE_FLTDIV, NULL);
    }
    printf("faults: %d failures\n", failures);
    return failures != 0;
}
