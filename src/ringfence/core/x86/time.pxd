# Guest time and the time-stamp counter: the TSC runs at 1 GHz, so it is guest ns plus an offset.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu

cdef extern from "<time.h>" nogil:
    """
    static inline unsigned long long clock_ns(clockid_t clock) {
        struct timespec t;
        clock_gettime(clock, &t);
        return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
    }
    """
    int CLOCK_REALTIME
    int CLOCK_MONOTONIC
    uint64_t clock_ns(int clock)

cdef inline uint64_t guest_ns(const Cpu* cpu) noexcept nogil:
    """Nanoseconds of guest time: the host's monotonic clock, less the time it was stopped."""
    return clock_ns(CLOCK_MONOTONIC) - cpu.a.clock_offset_ns

cdef inline uint64_t read_tsc(const Cpu* cpu) noexcept nogil:
    return guest_ns(cpu) + <uint64_t>cpu.a.lapic.tsc_offset
