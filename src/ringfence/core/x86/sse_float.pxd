# SSE floating point: thunks around which the guest's MXCSR is on.
from libc.stdint cimport uint8_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr
from ringfence.core.x86.thunk cimport call_thunk
from ringfence.core.x86.thunk_emit cimport FLOAT

cdef enum Mxcsr:
    MXCSR_IE = 1 << 0
    MXCSR_DE = 1 << 1
    MXCSR_ZE = 1 << 2
    MXCSR_OE = 1 << 3
    MXCSR_UE = 1 << 4
    MXCSR_PE = 1 << 5
    MXCSR_FLAGS = 0x3F
    MXCSR_MASK_SHIFT = 7
    MXCSR_RC_SHIFT = 13
    MXCSR_MASKS = 0x1F80
    MXCSR_UM = 1 << 11
    MXCSR_FZ = 1 << 15
    MXCSR_RESET = 0x1F80
    MXCSR_VALID = 0xFFFF            # MXCSR_MASK: a bit outside it makes LDMXCSR fault

cdef uint64_t run_float_unmasked(
    Cpu* cpu, Instr* i, int shape, uint8_t* to, const uint8_t* source) noexcept nogil

cdef inline uint64_t run_float(
        Cpu* cpu, Instr* i, int shape, uint8_t* to, const uint8_t* source) noexcept nogil:
    """Run `i`; its exceptions become sticky flags in MXCSR, or #XM when the guest unmasked them."""
    if (cpu.a.fx.mxcsr & MXCSR_MASKS) == MXCSR_MASKS:
        return call_thunk(cpu, i, shape | FLOAT, to, source, &cpu.a.fx.mxcsr)
    return run_float_unmasked(cpu, i, shape, to, source)

cdef void float_16(Cpu* cpu, Instr* i) noexcept nogil
cdef void float_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void float_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void compare_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void compare_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void to_integer_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void to_integer_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void from_integer(Cpu* cpu, Instr* i) noexcept nogil
