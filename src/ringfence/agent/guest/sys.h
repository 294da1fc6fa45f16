/* Linux system calls for a program without a C library, on x86-64 and i386. Numbers and structures as in the kernel's uapi. */
#ifndef SYS_H
#define SYS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef unsigned long size;

#ifdef __x86_64__
#include "x86_64.h"
#else
#include "i386.h"
#endif

enum { EINTR = 4, EAGAIN = 11, EACCES = 13, EBUSY = 16, ENOTDIR = 20, EINVAL = 22, ENOENT = 2, ENOEXEC = 8, EPROTO = 71,
       ENAMETOOLONG = 36, E2BIG = 7, EPERM = 1, ENOSYS = 38, ECANCELED = 125 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0x40, O_EXCL = 0x80, O_NOCTTY = 0x100, O_NONBLOCK = 0x800,
       O_DIRECTORY = 0x10000, O_NOFOLLOW = 0x20000, O_CLOEXEC = 0x80000 };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
enum { SIGKILL = 9, SIGUSR1 = 10, SIGUSR2 = 12, SIGTERM = 15, SIGCHLD = 17, SIGRTMIN = 34, SIGNALS = 64 };
enum { S_IFMT = 0170000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000 };
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100 };
enum { TIOCSCTTY = 0x540E, TIOCSWINSZ = 0x5414 };
enum { CLONE_VM = 0x100, CLONE_VFORK = 0x4000 };
enum { F_SETFL = 4, WNOHANG = 1, SIG_SETMASK = 2, CLOCK_REALTIME = 0, STATX_BASIC_STATS = 0x7FF };
#define TIOCGPTN 0x80045430UL
#define TIOCSPTLCK 0x40045431UL

struct pollfd { int fd; short events; short revents; };
struct timespec { s64 seconds; s64 nanoseconds; };
struct winsize { u16 rows, columns, x, y; };
struct statx_time { s64 seconds; u32 nanoseconds; u32 pad; };
struct statx {
    u32 mask, blksize; u64 attributes; u32 nlink, uid, gid; u16 mode, pad; u64 ino, size, blocks, attributes_mask;
    struct statx_time atime, btime, ctime, mtime; u32 rdev_major, rdev_minor, dev_major, dev_minor; u64 spare[14];
};
struct dirent { u64 ino; s64 offset; u16 length; u8 type; char name[]; };

#define call0(name) syscall(SYS_##name, 0, 0, 0, 0, 0)
#define call1(name, a) syscall(SYS_##name, (long)(a), 0, 0, 0, 0)
#define call2(name, a, b) syscall(SYS_##name, (long)(a), (long)(b), 0, 0, 0)
#define call3(name, a, b, c) syscall(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0)
#define call4(name, a, b, c, d) syscall(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define call5(name, a, b, c, d, e) syscall(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

#define open(path, flags, mode) ((int)call4(openat, AT_FDCWD, path, (flags) | O_LARGEFILE, mode))
#define close(fd) call1(close, fd)
#define read(fd, buffer, n) call3(read, fd, buffer, n)
#define write(fd, buffer, n) call3(write, fd, buffer, n)

/* text.c; the compiler calls the first three as well */
void *memcpy(void *to, const void *from, size n);
void *memmove(void *to, const void *from, size n);
void *memset(void *to, int value, size n);
size length(const char *text);
int is_equal(const char *a, const char *b);
int starts(const char *text, const char *prefix);
/* A decimal number up to `end`, -1 where there is none. */
s64 number(const char *text, const char *end);
char *put_text(char *to, const char *text);
char *put_number(char *to, u32 value);
/* Nanoseconds since 1970, which are not negative. */
struct timespec from_ns(s64 ns);
/* The first bytes of a small file, with a NUL after them; how many. */
size read_file(const char *path, char *to, size room);

#endif
