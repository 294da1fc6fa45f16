/* i386, of any age: as x86_64.h. Calls that came with 64-bit times have the plain names. */
#ifndef I386_H
#define I386_H

enum {
    SYS_exit = 1, SYS_read = 3, SYS_write = 4, SYS_close = 6, SYS_execve = 11, SYS_chdir = 12, SYS_kill = 37,
    SYS_ioctl = 54, SYS_dup2 = 63, SYS_setsid = 66, SYS_sethostname = 74, SYS_fchmod = 94, SYS_wait4 = 114,
    SYS_clone = 120, SYS_poll = 168, SYS_rt_sigaction = 174, SYS_rt_sigprocmask = 175, SYS_setgroups = 206,
    SYS_setuid = 213, SYS_setgid = 214, SYS_getdents64 = 220, SYS_fcntl = 221, SYS_openat = 295,
    SYS_mkdirat = 296, SYS_unlinkat = 301, SYS_renameat = 302, SYS_symlinkat = 304, SYS_readlinkat = 305,
    SYS_fchmodat = 306, SYS_signalfd4 = 327, SYS_pipe2 = 331, SYS_statx = 383, SYS_clock_settime = 404,
    SYS_utimensat = 412,
};
enum { O_LARGEFILE = 0x8000 };

static inline long syscall(long number, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

/* clone(2); the child calls `run(argument)` on the stack that ends at `top`, and never returns. */
static inline long clone(long flags, void *top, void (*run)(const void *), const void *argument)
{
    long result;
    __asm__ volatile("int $0x80\n\ttest %%eax, %%eax\n\tjnz 1f\n\tsub $12, %%esp\n\tpush %%esi\n\tcall *%%edi\n"
                     "\tud2\n1:"
                     : "=a"(result), "+c"(top)
                     : "a"(SYS_clone), "b"(flags), "D"(run), "S"(argument)
                     : "edx", "memory");
    return result;
}

#define START ".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %esp, %eax\n\tand $-16, %esp\n\tsub $12, %esp\n" \
              "\tpush %eax\n\tcall agent_main\n\tmov %eax, %ebx\n\tmov $1, %eax\n\tint $0x80\n"

#endif
