# Bit strings and scans; the scans are inline, instantiated for each width.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.access cimport load
from ringfence.core.x86.flags cimport set_flags_explicit
from ringfence.core.x86.operands cimport ea, get_reg, next_, set_reg
from ringfence.core.x86.state cimport Cpu, Instr, INSTR_MEMORY

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* to, size_t n, unsigned int flags)

cdef extern from *:
    int ctzll "__builtin_ctzll"(unsigned long long) noexcept nogil
    int clzll "__builtin_clzll"(unsigned long long) noexcept nogil

cdef inline uint64_t scan_source(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, size, 0), size)
    return get_reg(cpu, i.rm, size)

cdef inline void bits_bsf(Cpu* cpu, Instr* i, int size) noexcept nogil:
    """A source of 0 leaves the destination alone, upper half included (AMD APM vol. 3, BSF)."""
    cdef uint64_t value = scan_source(cpu, i, size)
    if value and size > 1:
        set_reg(cpu, i.reg, ctzll(value), size)
    set_flags_explicit(cpu, value != 0, 8, 0, 0, 0)
    next_(cpu, i)

cdef inline void bits_bsr(Cpu* cpu, Instr* i, int size) noexcept nogil:
    cdef uint64_t value = scan_source(cpu, i, size)
    if value and size > 1:
        set_reg(cpu, i.reg, 63 - clzll(value), size)
    set_flags_explicit(cpu, value != 0, 8, 0, 0, 0)
    next_(cpu, i)

cdef void bt_mem(Cpu* cpu, Instr* i) noexcept nogil
cdef void bts_mem(Cpu* cpu, Instr* i) noexcept nogil
cdef void btr_mem(Cpu* cpu, Instr* i) noexcept nogil
cdef void btc_mem(Cpu* cpu, Instr* i) noexcept nogil
cdef void crc32(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdrand(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdpid(Cpu* cpu, Instr* i) noexcept nogil
