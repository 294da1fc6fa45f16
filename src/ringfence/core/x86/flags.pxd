# Lazy arithmetic flags (SDM vol. 1, 3.4.3.1): two words written by each ALU operation,
# six flags computed only when something reads them.
#
#   flag_result   the result, sign-extended to 64 bits: ZF, SF, PF come from it
#   flag_carry    63: CF    62: CF xor OF    3: AF    1: PF delta    0: SF delta
#
# The carry vector of an n-bit addition, shifted left by 64-n, has exactly the carry out of the
# top bit (CF) at 63 and the carry into it (CF xor OF) at 62; AF is its bit 3 before shifting.
# The deltas let POPF and SAHF set combinations no result has (SF and ZF both 1).
from libc.stdint cimport int64_t, uint8_t, uint64_t
from ringfence.core.x86.state cimport (
    ARITHMETIC, Cpu, AF as FLAG_AF, CF as FLAG_CF, OF as FLAG_OF, PF as FLAG_PF, SF as FLAG_SF, ZF as FLAG_ZF)

cdef extern from *:
    int __builtin_parity(unsigned int) noexcept nogil

cdef inline int64_t sign_extend(uint64_t value, int bits) noexcept nogil:
    return <int64_t>(value << (64 - bits)) >> (64 - bits)

cdef inline uint64_t truncate(uint64_t value, int bits) noexcept nogil:
    return value & (<uint64_t>-1 >> (64 - bits))

cdef inline void set_flags_add(Cpu* cpu, uint64_t a, uint64_t b, uint64_t result, int bits) noexcept nogil:
    cdef uint64_t carry = (a & b) | ((a | b) & ~result)
    cpu.a.flag_result = sign_extend(result, bits)
    cpu.a.flag_carry = ((carry << (64 - bits)) & 0xC000000000000000ULL) | (carry & 8)

cdef inline void set_flags_sub(Cpu* cpu, uint64_t a, uint64_t b, uint64_t result, int bits) noexcept nogil:
    cdef uint64_t borrow = (~a & b) | ((~a | b) & result)
    cpu.a.flag_result = sign_extend(result, bits)
    cpu.a.flag_carry = ((borrow << (64 - bits)) & 0xC000000000000000ULL) | (borrow & 8)

cdef inline void set_flags_logic(Cpu* cpu, uint64_t result, int bits) noexcept nogil:
    cpu.a.flag_result = sign_extend(result, bits)
    cpu.a.flag_carry = 0

cdef inline void set_flags_explicit(
        Cpu* cpu, uint64_t result, int bits, uint64_t cf, uint64_t of, uint64_t af) noexcept nogil:
    """ZF SF PF from `result`; cf, of, af are 0 or 1."""
    cpu.a.flag_result = sign_extend(result, bits)
    cpu.a.flag_carry = (cf << 63) | ((cf ^ of) << 62) | (af << 3)

cdef inline void set_cf_of(Cpu* cpu, uint64_t cf, uint64_t of) noexcept nogil:
    """Rotates: only CF and OF change."""
    cpu.a.flag_carry = (cpu.a.flag_carry & 0x3FFFFFFFFFFFFFFFULL) | (cf << 63) | ((cf ^ of) << 62)

cdef inline uint64_t get_cf(Cpu* cpu) noexcept nogil:
    return cpu.a.flag_carry >> 63

cdef inline uint64_t get_of(Cpu* cpu) noexcept nogil:
    return ((cpu.a.flag_carry >> 63) ^ (cpu.a.flag_carry >> 62)) & 1

cdef inline uint64_t get_zf(Cpu* cpu) noexcept nogil:
    return cpu.a.flag_result == 0

cdef inline uint64_t get_sf(Cpu* cpu) noexcept nogil:
    return (<uint64_t>cpu.a.flag_result >> 63) ^ (cpu.a.flag_carry & 1)

cdef inline uint64_t get_af(Cpu* cpu) noexcept nogil:
    return (cpu.a.flag_carry >> 3) & 1

cdef inline uint64_t get_pf(Cpu* cpu) noexcept nogil:
    return (__builtin_parity(<unsigned int>(cpu.a.flag_result & 0xFF)) ^ 1) ^ ((cpu.a.flag_carry >> 1) & 1)

cdef inline void set_cf(Cpu* cpu, uint64_t cf) noexcept nogil:
    """CF alone: OF keeps its value."""
    set_cf_of(cpu, cf, get_of(cpu))

cdef inline void set_of(Cpu* cpu, uint64_t of) noexcept nogil:
    set_cf_of(cpu, get_cf(cpu), of)

cdef inline uint64_t get_rflags(Cpu* cpu) noexcept nogil:
    """The whole RFLAGS register, bit 1 set."""
    return (cpu.a.rflags | 2 | get_cf(cpu) | (get_pf(cpu) << 2) | (get_af(cpu) << 4) | (get_zf(cpu) << 6)
            | (get_sf(cpu) << 7) | (get_of(cpu) << 11))

cdef inline void set_arithmetic_flags(Cpu* cpu, uint64_t value) noexcept nogil:
    """All six arithmetic flags from an RFLAGS image."""
    cdef uint64_t cf = value & 1
    cdef uint64_t of = (value >> 11) & 1
    cdef uint64_t sf = (value >> 7) & 1
    cdef uint64_t pf = (value >> 2) & 1
    cdef uint64_t zf = (value >> 6) & 1
    # result 0 has SF 0, PF 1; result 1 has SF 0, PF 0
    cpu.a.flag_result = 1 - zf
    cpu.a.flag_carry = (cf << 63) | ((cf ^ of) << 62) | (((value >> 4) & 1) << 3) | ((pf ^ zf) << 1) | sf

cdef inline void set_zf(Cpu* cpu, uint64_t zf) noexcept nogil:
    """ZF alone; the rest keeps its value."""
    set_arithmetic_flags(cpu, (get_rflags(cpu) & ~<uint64_t>FLAG_ZF) | (zf << 6))

cdef inline bint condition(Cpu* cpu, int cc) noexcept nogil:
    """Condition code 0..15 as in Jcc, SETcc, CMOVcc (SDM vol. 1, appendix B)."""
    cdef bint holds
    if cc >> 1 == 0:
        holds = get_of(cpu)
    elif cc >> 1 == 1:
        holds = get_cf(cpu)
    elif cc >> 1 == 2:
        holds = get_zf(cpu)
    elif cc >> 1 == 3:
        holds = get_cf(cpu) | get_zf(cpu)
    elif cc >> 1 == 4:
        holds = get_sf(cpu)
    elif cc >> 1 == 5:
        holds = get_pf(cpu)
    elif cc >> 1 == 6:
        holds = get_sf(cpu) ^ get_of(cpu)
    else:
        holds = get_zf(cpu) | (get_sf(cpu) ^ get_of(cpu))
    return holds ^ (cc & 1)
