# Keeping signal handlers off a thread whose stack pointer is a guest's.
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <sys/syscall.h>
    #include <unistd.h>
    #include <signal.h>
    /* The C library's own function leaves out the two signals that it uses itself. */
    #define ringfence_sigmask(to, old) syscall(SYS_rt_sigprocmask, SIG_SETMASK, to, old, 8)
    """
    void sigmask "ringfence_sigmask"(const uint64_t* to, uint64_t* old) noexcept nogil

cdef struct Signals:
    uint64_t before

cdef inline void block_signals(Signals* signals) noexcept nogil:
    """Hold back every signal of this thread until unblock_signals()."""
    cdef uint64_t all_of_them = <uint64_t>-1
    sigmask(&all_of_them, &signals.before)

cdef inline void unblock_signals(Signals* signals) noexcept nogil:
    sigmask(&signals.before, NULL)
