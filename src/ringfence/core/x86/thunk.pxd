# The thunks of one process: host code that runs one guest instruction over the vCPU's registers.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from ringfence.core.host.code_buffer cimport CodeBuffer
from ringfence.core.x86.decode_table cimport ENTRY_LIMIT
from ringfence.core.x86.state cimport Cpu, Instr
from ringfence.core.x86.thunk_emit cimport Thunk
from ringfence.core.x86.thunk_vector cimport VectorFrame

cdef extern from "<cpuid.h>" nogil:
    int __get_cpuid_count(
        unsigned int leaf, unsigned int subleaf,
        unsigned int* eax, unsigned int* ebx, unsigned int* ecx, unsigned int* edx)

cdef extern from * nogil:
    """
    #define try_lock(lock) __sync_lock_test_and_set(lock, 1)
    #define clear_lock(lock) __sync_lock_release(lock)
    #define cpu_pause() __builtin_ia32_pause()
    /* the host's XCR0; 0 without OSXSAVE */
    static inline unsigned int host_xcr0(void) {
        unsigned int a, b, c, d;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1))
            return 0;
        __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
        return a;
    }
    """
    unsigned int host_xcr0()
    int try_lock(int* lock)         # not 0: someone else has it
    void clear_lock(int* lock)
    void cpu_pause()

ctypedef uint8_t* Bytes
ctypedef uint32_t* Offsets

cdef struct Thunks:
    CodeBuffer buffer
    int lock
    # [entry << 4 | z << 3 | L'L << 1 | W]: offsets by immediate or register number
    Offsets index[16 * ENTRY_LIMIT]

cdef void open_thunks(Cpu* cpu) noexcept nogil
cdef void limit_features(Cpu* cpu) noexcept
cdef void build_thunk(Cpu* cpu, Instr* i, int shape) noexcept nogil
cdef void build_vector_thunk(Cpu* cpu, Instr* i, int shape) noexcept nogil

cdef inline uint64_t call_thunk(
        Cpu* cpu, Instr* i, int shape, void* rdi, const void* rsi, void* rdx) noexcept nogil:
    """Run `i` on the host. Its imm2, which no such row uses, keeps the offset of its thunk."""
    if i.imm2 == 0:
        build_thunk(cpu, i, shape)
    # SAFETY: build_thunk() alone writes these two, and both name code that it emitted for this row
    return (<Thunk>(<uint8_t*>cpu.thunks + i.imm2))(rdi, rsi, rdx)

cdef inline uint64_t call_vector(Cpu* cpu, Instr* i, int shape, VectorFrame* frame) noexcept nogil:
    """The same for a VEX or EVEX instruction, its operands in a frame."""
    if i.imm2 == 0:
        build_vector_thunk(cpu, i, shape)
    # SAFETY: as above
    return (<Thunk>(<uint8_t*>cpu.thunks + i.imm2))(frame, NULL, NULL)

# cpu.scratch, aligned: an FXSAVE image, then memory operands, then what a handler puts aside
cdef inline uint8_t* scratch_image(Cpu* cpu) noexcept nogil:
    return <uint8_t*>((<uint64_t>cpu.scratch + 15) & ~<uint64_t>15)

cdef inline uint8_t* scratch_operand(Cpu* cpu) noexcept nogil:
    return scratch_image(cpu) + 512

cdef inline uint8_t* scratch_aside(Cpu* cpu) noexcept nogil:
    return scratch_image(cpu) + 640

cdef inline VectorFrame* vector_frame(Cpu* cpu) noexcept nogil:
    """The same room, for a vector instruction: aligned as its memory operands must be."""
    return <VectorFrame*>((<uint64_t>cpu.scratch + 63) & ~<uint64_t>63)
