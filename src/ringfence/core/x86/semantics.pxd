# What each computing instruction does: SDM vol. 2. One inline function a mnemonic, named sem_X.
#
# Operands come zero-extended; the result's bits above `bits` are ignored by the caller, which
# stores it. `bits` is always a constant after inlining, so every function folds to a few
# machine instructions. The handlers around them are generated from tables/x86.tbl.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.flags cimport (
    condition, get_cf, get_of, set_cf, set_cf_of, set_flags_add, set_flags_explicit, set_flags_logic,
    set_flags_sub, set_of, sign_extend, truncate)
from ringfence.core.x86.state cimport Cpu

cdef extern from *:
    int __builtin_popcountll(unsigned long long) noexcept nogil
    int __builtin_ctzll(unsigned long long) noexcept nogil
    int __builtin_clzll(unsigned long long) noexcept nogil
    uint64_t __builtin_bswap64(uint64_t) noexcept nogil

# -- arithmetic and logic --

cdef inline uint64_t sem_add(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a + b
    set_flags_add(cpu, a, b, r, bits)
    return r

cdef inline uint64_t sem_adc(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a + b + get_cf(cpu)
    set_flags_add(cpu, a, b, r, bits)
    return r

cdef inline uint64_t sem_sub(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a - b
    set_flags_sub(cpu, a, b, r, bits)
    return r

cdef inline uint64_t sem_sbb(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a - b - get_cf(cpu)
    set_flags_sub(cpu, a, b, r, bits)
    return r

cdef inline uint64_t sem_and(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a & b
    set_flags_logic(cpu, r, bits)
    return r

cdef inline uint64_t sem_or(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a | b
    set_flags_logic(cpu, r, bits)
    return r

cdef inline uint64_t sem_xor(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a ^ b
    set_flags_logic(cpu, r, bits)
    return r

cdef inline uint64_t sem_not(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return ~a

cdef inline uint64_t sem_neg(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = 0 - a
    set_flags_sub(cpu, 0, a, r, bits)
    return r

cdef inline uint64_t sem_inc(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = a + 1
    cdef uint64_t of = truncate(r, bits) == <uint64_t>1 << (bits - 1)
    set_flags_explicit(cpu, r, bits, get_cf(cpu), of, (r & 0xF) == 0)
    return r

cdef inline uint64_t sem_dec(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = a - 1
    cdef uint64_t of = truncate(a, bits) == <uint64_t>1 << (bits - 1)
    set_flags_explicit(cpu, r, bits, get_cf(cpu), of, (a & 0xF) == 0)
    return r

cdef inline uint64_t sem_imul2(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    """The two- and three-operand IMUL. The result's own SF ZF PF are undefined flags; set from it."""
    cdef int64_t x = sign_extend(a, bits)
    cdef int64_t y = sign_extend(b, bits)
    cdef uint64_t r = <uint64_t>x * <uint64_t>y
    cdef uint64_t overflow
    if bits == 64:
        overflow = imul_overflows(x, y)
    else:
        overflow = sign_extend(r, bits) != <int64_t>r
    set_flags_explicit(cpu, r, bits, overflow, overflow, 0)
    return r

cdef extern from *:
    """
    static inline unsigned long long imul_overflows(long long x, long long y) {
        long long r;
        return __builtin_mul_overflow(x, y, &r);
    }
    """
    uint64_t imul_overflows(int64_t x, int64_t y) noexcept nogil

cdef inline uint64_t sem_adcx(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a + b + get_cf(cpu)
    cdef uint64_t carry = (a & b) | ((a | b) & ~r)
    set_cf(cpu, (carry >> (bits - 1)) & 1)
    return r

cdef inline uint64_t sem_adox(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = a + b + get_of(cpu)
    cdef uint64_t carry = (a & b) | ((a | b) & ~r)
    set_of(cpu, (carry >> (bits - 1)) & 1)
    return r

# -- data movement --

cdef inline uint64_t sem_mov(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return a

cdef inline uint64_t sem_movsx8(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return <uint64_t><int64_t><int8_t>a

cdef inline uint64_t sem_movsx16(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return <uint64_t><int64_t><int16_t>a

cdef inline uint64_t sem_movsx32(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return <uint64_t><int64_t><int32_t>a

cdef inline uint64_t sem_bswap(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    """Undefined for 16 bits; hardware gives 0 there."""
    if bits == 16:
        return 0
    return __builtin_bswap64(a) >> (64 - bits)

cdef inline uint64_t sem_movbe(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    return __builtin_bswap64(a) >> (64 - bits)

# -- bits --

cdef inline uint64_t sem_bt(Cpu* cpu, uint64_t a, uint64_t index, int bits) noexcept nogil:
    set_cf(cpu, (a >> (index & (bits - 1))) & 1)
    return a

cdef inline uint64_t sem_bts(Cpu* cpu, uint64_t a, uint64_t index, int bits) noexcept nogil:
    set_cf(cpu, (a >> (index & (bits - 1))) & 1)
    return a | <uint64_t>1 << (index & (bits - 1))

cdef inline uint64_t sem_btr(Cpu* cpu, uint64_t a, uint64_t index, int bits) noexcept nogil:
    set_cf(cpu, (a >> (index & (bits - 1))) & 1)
    return a & ~(<uint64_t>1 << (index & (bits - 1)))

cdef inline uint64_t sem_btc(Cpu* cpu, uint64_t a, uint64_t index, int bits) noexcept nogil:
    set_cf(cpu, (a >> (index & (bits - 1))) & 1)
    return a ^ <uint64_t>1 << (index & (bits - 1))

cdef inline uint64_t sem_tzcnt(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = <uint64_t>bits if a == 0 else __builtin_ctzll(a)
    set_flags_explicit(cpu, r, bits, a == 0, 0, 0)
    return r

cdef inline uint64_t sem_lzcnt(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = <uint64_t>bits if a == 0 else __builtin_clzll(a) - (64 - bits)
    set_flags_explicit(cpu, r, bits, a == 0, 0, 0)
    return r

cdef inline uint64_t sem_popcnt(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = __builtin_popcountll(a)
    # only ZF depends on the source: SF, PF and the rest are 0
    cpu.a.flag_result = 1 if a else 0
    cpu.a.flag_carry = 0 if a else 2
    return r

cdef inline uint64_t sem_andn(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    cdef uint64_t r = ~a & b
    set_flags_logic(cpu, r, bits)
    return r

cdef inline uint64_t sem_blsr(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = a & (a - 1)
    set_flags_explicit(cpu, r, bits, a == 0, 0, 0)
    return r

cdef inline uint64_t sem_blsmsk(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = a ^ (a - 1)
    set_flags_explicit(cpu, r, bits, a == 0, 0, 0)
    return r

cdef inline uint64_t sem_blsi(Cpu* cpu, uint64_t a, int bits) noexcept nogil:
    cdef uint64_t r = a & (0 - a)
    set_flags_explicit(cpu, r, bits, a != 0, 0, 0)
    return r

cdef inline uint64_t sem_bzhi(Cpu* cpu, uint64_t a, uint64_t index, int bits) noexcept nogil:
    cdef uint64_t n = index & 0xFF
    cdef uint64_t r = a
    if n < <uint64_t>bits:
        r = a & ((<uint64_t>1 << n) - 1)
    set_flags_explicit(cpu, r, bits, n >= <uint64_t>bits, 0, 0)
    return r

cdef inline uint64_t sem_bextr(Cpu* cpu, uint64_t a, uint64_t control, int bits) noexcept nogil:
    cdef uint64_t start = control & 0xFF
    cdef uint64_t length = (control >> 8) & 0xFF
    cdef uint64_t r = 0
    if start < <uint64_t>bits:
        r = a >> start
    if length < <uint64_t>bits:
        r &= (<uint64_t>1 << length) - 1
    set_flags_logic(cpu, r, bits)
    return r

cdef inline uint64_t sem_pdep(Cpu* cpu, uint64_t a, uint64_t mask, int bits) noexcept nogil:
    cdef uint64_t r = 0
    cdef uint64_t low
    while mask:
        low = mask & (0 - mask)
        if a & 1:
            r |= low
        a >>= 1
        mask ^= low
    return r

cdef inline uint64_t sem_pext(Cpu* cpu, uint64_t a, uint64_t mask, int bits) noexcept nogil:
    cdef uint64_t r = 0
    cdef uint64_t low
    cdef int n = 0
    while mask:
        low = mask & (0 - mask)
        if a & low:
            r |= <uint64_t>1 << n
        n += 1
        mask ^= low
    return r

cdef inline uint64_t sem_crc32_8(Cpu* cpu, uint64_t crc, uint64_t data, int bits) noexcept nogil:
    """One byte of CRC-32C, reflected polynomial 82F63B78h; the result is 32 bits at any width."""
    cdef int k
    cdef uint32_t r = <uint32_t>crc ^ <uint8_t>data
    for k in range(8):
        r = (r >> 1) ^ (<uint32_t>0x82F63B78 & (0 - (r & 1)))
    return r

# -- conditions --

cdef inline uint64_t sem_cmov_0(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 0) else a

cdef inline uint64_t sem_set_0(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 0)

cdef inline uint64_t sem_cmov_1(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 1) else a

cdef inline uint64_t sem_set_1(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 1)

cdef inline uint64_t sem_cmov_2(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 2) else a

cdef inline uint64_t sem_set_2(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 2)

cdef inline uint64_t sem_cmov_3(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 3) else a

cdef inline uint64_t sem_set_3(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 3)

cdef inline uint64_t sem_cmov_4(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 4) else a

cdef inline uint64_t sem_set_4(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 4)

cdef inline uint64_t sem_cmov_5(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 5) else a

cdef inline uint64_t sem_set_5(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 5)

cdef inline uint64_t sem_cmov_6(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 6) else a

cdef inline uint64_t sem_set_6(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 6)

cdef inline uint64_t sem_cmov_7(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 7) else a

cdef inline uint64_t sem_set_7(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 7)

cdef inline uint64_t sem_cmov_8(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 8) else a

cdef inline uint64_t sem_set_8(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 8)

cdef inline uint64_t sem_cmov_9(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 9) else a

cdef inline uint64_t sem_set_9(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 9)

cdef inline uint64_t sem_cmov_10(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 10) else a

cdef inline uint64_t sem_set_10(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 10)

cdef inline uint64_t sem_cmov_11(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 11) else a

cdef inline uint64_t sem_set_11(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 11)

cdef inline uint64_t sem_cmov_12(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 12) else a

cdef inline uint64_t sem_set_12(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 12)

cdef inline uint64_t sem_cmov_13(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 13) else a

cdef inline uint64_t sem_set_13(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 13)

cdef inline uint64_t sem_cmov_14(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 14) else a

cdef inline uint64_t sem_set_14(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 14)

cdef inline uint64_t sem_cmov_15(Cpu* cpu, uint64_t a, uint64_t b, int bits) noexcept nogil:
    return b if condition(cpu, 15) else a

cdef inline uint64_t sem_set_15(Cpu* cpu, int bits) noexcept nogil:
    return condition(cpu, 15)
