# Shifts and rotates: SDM vol. 2, SAL SAR SHL SHR, RCL RCR ROL ROR, SHLD SHRD, and BMI2's. The
# conventions are those of semantics.pxd; a count of 0 (after masking) changes no flag.
from libc.stdint cimport int64_t, uint64_t
from ringfence.core.x86.flags cimport get_cf, set_cf_of, set_flags_explicit, sign_extend, truncate
from ringfence.core.x86.state cimport Cpu

cdef inline uint64_t sem_shl(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t r
    cdef uint64_t cf
    if n == 0:
        return a
    if n > bits:
        r = 0
        cf = 0
    else:
        r = a << n if n < 64 else 0
        cf = (a >> (bits - n)) & 1
    set_flags_explicit(cpu, r, bits, cf, cf ^ ((r >> (bits - 1)) & 1), 0)
    return r

cdef inline uint64_t sem_shr(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t r
    if n == 0:
        return a
    r = a >> n
    set_flags_explicit(cpu, r, bits, (a >> (n - 1)) & 1, (a >> (bits - 1)) & 1 if n == 1 else 0, 0)
    return r

cdef inline uint64_t sem_sar(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef int64_t x = sign_extend(a, bits)
    if n == 0:
        return a
    set_flags_explicit(cpu, <uint64_t>(x >> n), bits, (x >> (n - 1)) & 1, 0, 0)
    return <uint64_t>(x >> n)

cdef inline uint64_t sem_rol(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int masked = count & (63 if bits == 64 else 31)
    cdef int n = masked & (bits - 1)
    cdef uint64_t r = a
    cdef uint64_t cf
    if masked == 0:
        return a
    if n:
        r = truncate((a << n) | (a >> (bits - n)), bits)
    cf = r & 1
    set_cf_of(cpu, cf, cf ^ ((r >> (bits - 1)) & 1))
    return r

cdef inline uint64_t sem_ror(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int masked = count & (63 if bits == 64 else 31)
    cdef int n = masked & (bits - 1)
    cdef uint64_t r = a
    if masked == 0:
        return a
    if n:
        r = truncate((a >> n) | (a << (bits - n)), bits)
    set_cf_of(cpu, (r >> (bits - 1)) & 1, ((r >> (bits - 1)) ^ (r >> (bits - 2))) & 1)
    return r

cdef inline uint64_t sem_rcl(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t cf = get_cf(cpu)
    cdef uint64_t r
    cdef uint64_t out
    n = n % (bits + 1) if bits < 32 else n
    if n == 0:
        return a
    r = (a << n) | (cf << (n - 1))
    if n > 1:
        r |= a >> (bits + 1 - n)
    out = (a >> (bits - n)) & 1
    r = truncate(r, bits)
    set_cf_of(cpu, out, out ^ ((r >> (bits - 1)) & 1))
    return r

cdef inline uint64_t sem_rcr(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t cf = get_cf(cpu)
    cdef uint64_t r
    n = n % (bits + 1) if bits < 32 else n
    if n == 0:
        return a
    r = (a >> n) | (cf << (bits - n))
    if n > 1:
        r |= a << (bits + 1 - n)
    r = truncate(r, bits)
    set_cf_of(cpu, (a >> (n - 1)) & 1, ((r >> (bits - 1)) ^ (r >> (bits - 2))) & 1)
    return r

cdef inline uint64_t sem_shld(Cpu* cpu, uint64_t a, uint64_t b, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t r
    cdef uint64_t cf
    if n == 0:
        return a
    if bits == 16 and n > 16:
        # undefined by the manual; hardware shifts on through the source
        r = truncate((b << (n - 16)) | (a >> (32 - n)), 16)
        cf = (b >> (32 - n)) & 1
    else:
        r = truncate((a << n) | (b >> (bits - n)), bits)
        cf = (a >> (bits - n)) & 1
    set_flags_explicit(cpu, r, bits, cf, ((r ^ a) >> (bits - 1)) & 1, 0)
    return r

cdef inline uint64_t sem_shrd(Cpu* cpu, uint64_t a, uint64_t b, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (63 if bits == 64 else 31)
    cdef uint64_t r
    cdef uint64_t cf
    if n == 0:
        return a
    if bits == 16 and n > 16:
        r = truncate((b >> (n - 16)) | (a << (32 - n)), 16)
        cf = (b >> (n - 17)) & 1
    else:
        r = truncate((a >> n) | (b << (bits - n)), bits)
        cf = (a >> (n - 1)) & 1
    set_flags_explicit(cpu, r, bits, cf, ((r ^ a) >> (bits - 1)) & 1, 0)
    return r

cdef inline uint64_t sem_shlx(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    return a << (count & (bits - 1))

cdef inline uint64_t sem_shrx(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    return a >> (count & (bits - 1))

cdef inline uint64_t sem_sarx(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    return <uint64_t>(sign_extend(a, bits) >> (count & (bits - 1)))

cdef inline uint64_t sem_rorx(Cpu* cpu, uint64_t a, uint64_t count, int bits) noexcept nogil:
    cdef int n = count & (bits - 1)
    return (a >> n) | (a << (bits - n)) if n else a
