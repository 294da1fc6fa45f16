/* x86-64: the numbers of system calls and how they are made; how the program starts, and its child. */
#ifndef X86_64_H
#define X86_64_H

enum {
    SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_poll = 7, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14,
    SYS_ioctl = 16, SYS_dup2 = 33, SYS_clone = 56, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_kill = 62, SYS_fcntl = 72,
    SYS_chdir = 80, SYS_setuid = 105, SYS_setgid = 106, SYS_setsid = 112, SYS_setgroups = 116,
    SYS_sethostname = 170, SYS_getdents64 = 217, SYS_clock_settime = 227, SYS_openat = 257, SYS_mkdirat = 258,
    SYS_unlinkat = 263, SYS_renameat = 264, SYS_symlinkat = 266, SYS_readlinkat = 267, SYS_fchmod = 91,
    SYS_utimensat = 280, SYS_signalfd4 = 289, SYS_pipe2 = 293, SYS_statx = 332, SYS_fchmodat = 268,
};
enum { O_LARGEFILE = 0 };

static inline long syscall(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone(2); the child calls `run(argument)` on the stack that ends at `top`, and never returns. */
static inline long clone(long flags, void *top, void (*run)(const void *), const void *argument)
{
    register const void *kept __asm__("r12") = argument;
    long result;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\tmov %%r12, %%rdi\n\tcall *%4\n"
                     "\tud2\n1:"
                     : "=a"(result), "+S"(top)
                     : "a"(SYS_clone), "D"(flags), "r"(run), "r"(kept)
                     : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
    return result;
}

#define START ".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall agent_main\n" \
              "\tmov %eax, %edi\n\tmov $60, %eax\n\tsyscall\n"

#endif
