# x87: checks before an instruction, the register stack, and the handlers that only compute.
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from ringfence.core.x86.state cimport CR0_EM, CR0_TS, Cpu, Fxsave, Instr

cdef enum StatusWord:
    FSW_IE = 1 << 0
    FSW_DE = 1 << 1
    FSW_ZE = 1 << 2
    FSW_OE = 1 << 3
    FSW_UE = 1 << 4
    FSW_PE = 1 << 5
    FSW_EXCEPTIONS = 0x3F
    FSW_ES = 1 << 7
    FSW_TOP_SHIFT = 11
    FSW_TOP = 7 << 11
    FSW_B = 1 << 15
    FSW_KEPT_BY_FNCLEX = 0x7F00
    FCW_RESET = 0x37F
    FCW_VALID = 0x1F3F              # bits that can be written
    FCW_ALWAYS = 0x40               # bit 6 reads as 1

ctypedef const uint8_t* ConstBytes
ctypedef uint64_t* WordsP
ctypedef Fxsave* FxsaveP

cdef void x87_unavailable(Cpu* cpu) noexcept nogil
cdef void x87_pending(Cpu* cpu) noexcept nogil
cdef void set_top(Cpu* cpu, int top) noexcept nogil
cdef void set_summary(Fxsave* fx) noexcept nogil
cdef void record_pointers(Cpu* cpu, Instr* i) noexcept nogil

cdef inline void check_x87_control(Cpu* cpu) noexcept nogil:
    """#NM; for the instructions that do not wait for a pending exception."""
    if cpu.a.cr0 & (CR0_EM | CR0_TS):
        x87_unavailable(cpu)

cdef inline void check_x87(Cpu* cpu) noexcept nogil:
    """#NM, then #MF: SDM vol. 3, table 2-2 and 6.15."""
    check_x87_control(cpu)
    if cpu.a.fx.fsw & FSW_ES:
        x87_pending(cpu)

cdef inline int get_top(Fxsave* fx) noexcept nogil:
    return (fx.fsw >> FSW_TOP_SHIFT) & 7

cdef void load_2(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_10(Cpu* cpu, Instr* i) noexcept nogil
cdef void stack(Cpu* cpu, Instr* i) noexcept nogil
cdef void stack_flags(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_2(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_10(Cpu* cpu, Instr* i) noexcept nogil
