# SSE to SSE4.2, AES-NI, PCLMULQDQ, SHA on integers: operands, and the handlers that use a thunk.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.access cimport load, probe_read, probe_write, store_bytes
from ringfence.core.x86.faults cimport raise_gp
from ringfence.core.x86.operands cimport ea
from ringfence.core.x86.state cimport CR0_EM, CR0_TS, CR4_OSFXSR, Cpu, Instr, INSTR_MEMORY
from ringfence.core.x86.thunk cimport scratch_operand
from ringfence.core.x86.thunk_emit cimport StringSlot

cdef extern from "<emmintrin.h>" nogil:
    ctypedef struct __m128i:
        pass
    __m128i _mm_loadu_si128(const void*)
    void _mm_storeu_si128(void*, __m128i)
    __m128i _mm_cvtsi64_si128(uint64_t)
    int _mm_movemask_epi8(__m128i)
    __m128i _mm_and_si128(__m128i, __m128i)
    __m128i _mm_andnot_si128(__m128i, __m128i)
    __m128i _mm_or_si128(__m128i, __m128i)
    __m128i _mm_xor_si128(__m128i, __m128i)

ctypedef uint8_t* Vector                    # 16 bytes, not always aligned
ctypedef const uint8_t* ConstVector
ctypedef uint64_t* Words
ctypedef uint32_t* Dwords
ctypedef uint16_t* HalfWords

cdef void sse_unavailable(Cpu* cpu) noexcept nogil
cdef const uint8_t* load_vector_slow(Cpu* cpu, uint64_t la) noexcept nogil

cdef inline void check_sse(Cpu* cpu) noexcept nogil:
    """#UD or #NM as CR0 and CR4 say: SDM vol. 2, table 2-21 and the like."""
    if (cpu.a.cr0 & (CR0_EM | CR0_TS)) != 0 or (cpu.a.cr4 & CR4_OSFXSR) == 0:
        sse_unavailable(cpu)

cdef inline Vector xmm(Cpu* cpu, int number) noexcept nogil:
    return &cpu.a.fx.xmm[number * 16]

# 16-byte copies are done in one piece: a thunk that reads the whole of what was written in
# halves would wait for the store buffer
cdef inline void copy_vector(void* to, const void* source) noexcept nogil:
    _mm_storeu_si128(to, _mm_loadu_si128(source))

cdef inline void set_vector(void* to, uint64_t value) noexcept nogil:
    """The low 8 bytes are `value`, the high ones 0."""
    _mm_storeu_si128(to, _mm_cvtsi64_si128(value))

cdef inline const uint8_t* load_vector(Cpu* cpu, uint64_t la) noexcept nogil:
    """16 bytes at `la`: where they are in guest RAM, or a copy."""
    # SAFETY: 16 bytes are in the page of a TLB entry; the caller reads them once, at once
    cdef const uint8_t* host = probe_read(cpu, la, 16)
    if host != NULL:
        return host
    return load_vector_slow(cpu, la)

cdef inline void store_vector(Cpu* cpu, uint64_t la, const uint8_t* data) noexcept nogil:
    # SAFETY: as above, for writing
    cdef uint8_t* host = probe_write(cpu, la, 16)
    if host != NULL:
        copy_vector(host, data)
    else:
        store_bytes(cpu, la, data, 16)

cdef inline uint64_t ea_aligned(Cpu* cpu, Instr* i, int is_write) noexcept nogil:
    """Linear address of a 16-byte operand that must be aligned."""
    cdef uint64_t la = ea(cpu, i, 16, is_write)
    if la & 15:
        raise_gp(cpu)
    return la

cdef inline const uint8_t* source(Cpu* cpu, Instr* i) noexcept nogil:
    """The 16 bytes of xmm/m128, aligned when in memory."""
    if i.attr & INSTR_MEMORY:
        return load_vector(cpu, ea_aligned(cpu, i, 0))
    return xmm(cpu, i.rm)

cdef inline const uint8_t* source_unaligned(Cpu* cpu, Instr* i) noexcept nogil:
    if i.attr & INSTR_MEMORY:
        return load_vector(cpu, ea(cpu, i, 16, 0))
    return xmm(cpu, i.rm)

cdef inline const uint8_t* source_part(Cpu* cpu, Instr* i, int size) noexcept nogil:
    """`size` <= 8 bytes of xmm/m64, xmm/m32 or xmm/m16."""
    if i.attr & INSTR_MEMORY:
        (<uint64_t*>scratch_operand(cpu))[0] = load(cpu, ea(cpu, i, size, 0), size)
        return scratch_operand(cpu)
    return xmm(cpu, i.rm)

cdef StringSlot* compare_strings(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector_2(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector_mask(Cpu* cpu, Instr* i) noexcept nogil
cdef void vector_shift(Cpu* cpu, Instr* i) noexcept nogil
cdef void ptest(Cpu* cpu, Instr* i) noexcept nogil
cdef void pcmpstr_index(Cpu* cpu, Instr* i) noexcept nogil
cdef void pcmpstr_mask(Cpu* cpu, Instr* i) noexcept nogil
