"""What each kind of thread may ask of the kernel.

Two filters. The first holds for every thread of the process; the second, for vCPU threads, where guest code
runs, is added to it. All of them share their memory, so whoever takes over one can reach for another: the
second filter stops what does not get that far.
"""

from __future__ import annotations

from collections.abc import Iterable

from ringfence.vmm.jail import bpf
from ringfence.vmm.jail.bpf import Check, Rule
from ringfence.vmm.jail.numbers import NUMBERS

MEMORY = "munmap mremap madvise brk msync membarrier"
THREADS = """
futex futex_waitv set_robust_list rseq exit exit_group gettid getpid getppid sched_yield sched_getaffinity
set_tid_address getcpu
"""
SIGNALS = (
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending sigaltstack pause restart_syscall"
)
TIME = """
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage timerfd_create
timerfd_settime timerfd_gettime
"""
#: on what is open already
DESCRIPTORS = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek fstat newfstatat close
close_range dup dup2 dup3 fcntl poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait
epoll_pwait epoll_pwait2 eventfd2 pipe pipe2 fsync fdatasync sync_file_range fallocate ftruncate flock
sendfile copy_file_range fstatfs memfd_create fchmod
"""
HOST = "getrandom uname sysinfo getuid geteuid getgid getegid getgroups getrlimit"
CONNECTIONS = """
accept accept4 recvfrom recvmsg recvmmsg sendmsg sendmmsg shutdown getsockname getpeername getsockopt
setsockopt
"""
INTERNET = "bind listen connect sendto"
FILES = """
open openat openat2 stat lstat statx access faccessat faccessat2 readlink readlinkat getdents getdents64
getcwd mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat chmod
fchmodat utimensat truncate statfs
"""
#: Nobody here ever asks for these: who does has been taken over, and is ended.
NEVER = "execve execveat ptrace process_vm_readv process_vm_writev"

_PROT_WRITE, _PROT_EXEC, _MAP_SHARED = 2, 4, 1
_CLONE_THREAD = 0x0001_0000 | 0x0000_0100 | 0x0000_0800  # CLONE_THREAD, CLONE_VM, CLONE_SIGHAND
_CLONE_NAMESPACES = 0x7E02_0000
_FILE_KINDS = (0, 0x8000, 0x1000, 0xC000)  # none, regular, fifo, socket: no devices
_SOCK_TYPE_MASK = 0xF
_AF_INET, _AF_INET6, _SOCK_STREAM, _SOCK_DGRAM = 2, 10, 1, 2
_PR_SET_NAME = 15
_SECCOMP_SET_MODE_FILTER = 1
#: TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not TIOCSTI,
#: which types on the user's terminal.
_IOCTLS = (0x5401, 0x5402, 0x5403, 0x5404, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)


def process_filter(pid: int, may_connect: bool) -> bytes:
    """For every thread of the process ``pid``."""
    rules = [
        *_plain(MEMORY, THREADS, SIGNALS, TIME, DESCRIPTORS, HOST, CONNECTIONS, FILES),
        *_conditional(pid),
        Rule(
            NUMBERS["clone"],
            ((Check(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_NAMESPACES),),),
        ),
        Rule(NUMBERS["clone3"], action=bpf.UNKNOWN),  # its flags are out of a filter's sight
        *(Rule(NUMBERS[name], action=bpf.KILL) for name in NEVER.split()),
    ]
    rules += [*_plain(INTERNET), _socket()] if may_connect else [_send_to_peer()]
    return bpf.assemble(rules)


def vcpu_filter(may_open: bool) -> bytes:
    """For vCPU threads, added to the other: no sockets, no threads, files only where shares need them."""
    refused = f"{INTERNET} socket accept accept4 sendmsg sendmmsg clone"
    if not may_open:
        refused += f" mknodat {FILES}"
    return bpf.assemble(
        (Rule(NUMBERS[name], action=bpf.REFUSE) for name in refused.split()), otherwise=bpf.ALLOW
    )


def _plain(*groups: str) -> list[Rule]:
    return [Rule(NUMBERS[name]) for group in groups for name in group.split()]


def _conditional(pid: int) -> Iterable[Rule]:
    """What is allowed with some arguments only."""
    yield Rule(
        NUMBERS["mmap"],
        # nothing to execute; or a code buffer: shared, and not writable by this mapping
        ((Check(2, 0, _PROT_EXEC),), (Check(2, 0, _PROT_WRITE), Check(3, _MAP_SHARED, 0xF))),
    )
    yield Rule(NUMBERS["mprotect"], ((Check(2, 0, _PROT_EXEC),),))
    yield Rule(NUMBERS["ioctl"], bpf.one_of(1, _IOCTLS))
    yield Rule(NUMBERS["prctl"], bpf.one_of(0, (_PR_SET_NAME,)))
    yield Rule(NUMBERS["seccomp"], bpf.one_of(0, (_SECCOMP_SET_MODE_FILTER,)))
    yield Rule(NUMBERS["prlimit64"], (bpf.zero(2),))
    yield Rule(NUMBERS["mknodat"], bpf.one_of(2, _FILE_KINDS, 0xF000))
    for name in ("kill", "tgkill"):
        yield Rule(NUMBERS[name], bpf.one_of(0, (pid,)))


def _socket() -> Rule:
    """TCP and UDP."""
    kinds = [(domain, kind) for domain in (_AF_INET, _AF_INET6) for kind in (_SOCK_STREAM, _SOCK_DGRAM)]
    alternatives = tuple((Check(0, domain), Check(1, kind, _SOCK_TYPE_MASK)) for domain, kind in kinds)
    return Rule(NUMBERS["socket"], alternatives)


def _send_to_peer() -> Rule:
    """To whom the socket is connected to."""
    return Rule(NUMBERS["sendto"], (bpf.zero(4),))
