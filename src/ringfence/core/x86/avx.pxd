# AVX to AVX-512: operands to and from a frame, and the handlers for instructions on integers.
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset
from ringfence.core.x86.decode_table cimport ELEMENT_SCALAR, VECTOR_512, EntryInfo
from ringfence.core.x86.decode_vector cimport opmask_number, vector_length
from ringfence.core.x86.state cimport CR0_TS, CR4_OSXSAVE, Cpu, Instr
from ringfence.core.x86.thunk_vector cimport VectorFrame

ctypedef EntryInfo* EntryInfoP

cdef enum:
    XCR0_FOR_AVX = 0x06             # SSE, AVX
    XCR0_FOR_AVX512 = 0xE6          # and opmask, ZMM_Hi256, Hi16_ZMM
    ALL_ONES = 0xFFFFFFFFFFFFFFFFULL

cdef void avx_unavailable(Cpu* cpu, uint64_t needed) noexcept nogil

cdef inline void check_avx(Cpu* cpu, EntryInfo* e) noexcept nogil:
    """#UD or #NM as XCR0, CR4 and CR0 say: SDM vol. 2, tables 2-22 and 2-46."""
    cdef uint64_t needed = XCR0_FOR_AVX512 if e.vector & VECTOR_512 else XCR0_FOR_AVX
    if (cpu.a.xcr0 & needed) != needed or (cpu.a.cr4 & CR4_OSXSAVE) == 0 or (cpu.a.cr0 & CR0_TS) != 0:
        avx_unavailable(cpu, needed)

cdef inline void get_vector(Cpu* cpu, int number, uint8_t* to) noexcept nogil:
    """All 64 bytes of a register."""
    if number < 16:
        memcpy(to, &cpu.a.fx.xmm[number * 16], 16)
        memcpy(to + 16, &cpu.a.high.ymm[number * 16], 16)
        memcpy(to + 32, &cpu.a.high.zmm[number * 32], 32)
    else:
        memcpy(to, &cpu.a.high.hi16[(number - 16) * 64], 64)

cdef inline void put_vector(Cpu* cpu, int number, const uint8_t* data) noexcept nogil:
    if number < 16:
        memcpy(&cpu.a.fx.xmm[number * 16], data, 16)
        memcpy(&cpu.a.high.ymm[number * 16], data + 16, 16)
        memcpy(&cpu.a.high.zmm[number * 32], data + 32, 32)
    else:
        memcpy(&cpu.a.high.hi16[(number - 16) * 64], data, 64)

cdef inline void clear_above_xmm(Cpu* cpu, int number) noexcept nogil:
    memset(&cpu.a.high.ymm[number * 16], 0, 16)
    memset(&cpu.a.high.zmm[number * 32], 0, 32)

cdef inline uint64_t opmask(Cpu* cpu, Instr* i) noexcept nogil:
    """The opmask by aaa; k0 stands for all ones."""
    cdef int number = opmask_number(i)
    return cpu.a.high.opmask[number] if number != 0 else ALL_ONES

cdef inline int element_bytes(EntryInfo* e) noexcept nogil:
    return 1 << (e.element - 1)

cdef inline int element_count(EntryInfo* e, Instr* i) noexcept nogil:
    """How many bits of the opmask count."""
    return 1 if e.element == ELEMENT_SCALAR else 16 << vector_length(i) >> (e.element - 1)

cdef VectorFrame* load_operands(Cpu* cpu, Instr* i, EntryInfo* e) noexcept nogil
cdef VectorFrame* load_registers(Cpu* cpu, Instr* i, EntryInfo* e) noexcept nogil
cdef void store_target(Cpu* cpu, Instr* i, EntryInfo* e, VectorFrame* frame) noexcept nogil
cdef void vector(Cpu* cpu, Instr* i) noexcept nogil
cdef void flags(Cpu* cpu, Instr* i) noexcept nogil
cdef void zero_upper(Cpu* cpu, Instr* i) noexcept nogil
cdef void zero_all(Cpu* cpu, Instr* i) noexcept nogil
cdef void ldmxcsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void stmxcsr(Cpu* cpu, Instr* i) noexcept nogil
