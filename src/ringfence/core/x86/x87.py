"""x87: SDM vol. 1, chapter 8.

The guest's x87 state is the FXSAVE image cpu.a.fx. A thunk loads it into the host's x87, runs the guest's
instruction and stores it back, so rounding, tags and exceptions are the processor's own. Kept by
hand: what the host can't know, the pointers to the last instruction and operand.

In 64-bit code an image's FIP and FDP are 64-bit offsets; elsewhere 32-bit offsets with the selector in
bits 32 to 47.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.exits import EXIT_FERR
from cython.cimports.ringfence.core.x86.access import check_write, load, load_bytes, store, store_bytes
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.faults import leave, raise_fault
from cython.cimports.ringfence.core.x86.flags import get_rflags, set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import ea, ea_offset, next_, rip_of, wrap_ea
from cython.cimports.ringfence.core.x86.state import (
    CR0_NE,
    CS,
    INSTR_MEMORY,
    MF,
    MODE_CODE64,
    MODE_CODE_MASK,
    NM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import call_thunk, scratch_image, scratch_operand
from cython.cimports.ringfence.core.x86.thunk_emit import FPU, FPU_FLAGS, FPU_MEMORY
from cython.cimports.ringfence.core.x86.x87 import (
    FSW_B,
    FSW_ES,
    FSW_EXCEPTIONS,
    FSW_IE,
    FSW_OE,
    FSW_TOP,
    FSW_TOP_SHIFT,
    FSW_UE,
    ConstBytes,
    FxsaveP,
    WordsP,
    check_x87,
    get_top,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def x87_unavailable(cpu: CpuP) -> cython.void:
    raise_fault(cpu, NM)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def x87_pending(cpu: CpuP) -> cython.void:
    """An unmasked exception of an earlier instruction. With CR0.NE = 0 the processor asserts FERR#
    and waits for an interrupt: the VMM raises IRQ 13, and the instruction runs again.
    """
    if cpu.a.cr0 & CR0_NE:
        raise_fault(cpu, MF)
    leave(cpu, EXIT_FERR)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_summary(fx: FxsaveP) -> cython.void:
    """ES and B: whether a flag stands whose exception is not masked."""
    if fx.fsw & ~fx.fcw & FSW_EXCEPTIONS:
        fx.fsw |= FSW_ES | FSW_B
    else:
        fx.fsw &= ~(FSW_ES | FSW_B)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_top(cpu: CpuP, top: cython.int) -> cython.void:
    """Change TOP. The registers stay what they are, but the image numbers them from the top."""
    old = cython.declare(uint8_t[128])
    fx: FxsaveP = cython.address(cpu.a.fx)
    shift: cython.int = (top - get_top(fx)) & 7
    k: cython.int
    if shift != 0:
        memcpy(old, fx.st, 128)
        for k in range(8):
            memcpy(cython.address(fx.st[k * 16]), cython.address(old[(k + shift & 7) * 16]), 16)
    fx.fsw = fx.fsw & ~FSW_TOP | top << FSW_TOP_SHIFT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pointer(cpu: CpuP, seg: cython.int, offset: uint64_t) -> uint64_t:
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return offset
    return cython.cast(uint32_t, offset) | cython.cast(uint64_t, cpu.a.seg[seg].selector) << 32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def record_pointers(cpu: CpuP, i: InstrP) -> cython.void:
    """FOP, FIP, FDP after an instruction that is not a control one (8.1.8)."""
    cpu.a.fx.fop = (entry_info(i.entry).opcode & 7) << 8 | i.modrm
    cpu.a.fx.fip = pointer(cpu, CS, rip_of(cpu, i))
    if i.attr & INSTR_MEMORY:
        cpu.a.fx.fdp = pointer(cpu, i.seg, wrap_ea(i, ea_offset(cpu, i)))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run(cpu: CpuP, i: InstrP, shape: cython.int, operand: ConstBytes) -> uint64_t:
    """Run `i` on the guest's registers in place."""
    fx: FxsaveP = cython.address(cpu.a.fx)
    fdp: uint64_t = fx.fdp
    value: uint64_t = call_thunk(cpu, i, FPU | shape, fx, operand, fx)
    fx.fdp = fdp
    record_pointers(cpu, i)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_2(cpu: CpuP, i: InstrP) -> cython.void:
    """A source of m16int."""
    check_x87(cpu)
    cython.cast(WordsP, scratch_operand(cpu))[0] = load(cpu, ea(cpu, i, 2, 0), 2)
    run(cpu, i, FPU_MEMORY, scratch_operand(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_4(cpu: CpuP, i: InstrP) -> cython.void:
    """A source of m32fp or m32int."""
    check_x87(cpu)
    cython.cast(WordsP, scratch_operand(cpu))[0] = load(cpu, ea(cpu, i, 4, 0), 4)
    run(cpu, i, FPU_MEMORY, scratch_operand(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_8(cpu: CpuP, i: InstrP) -> cython.void:
    """A source of m64fp or m64int."""
    check_x87(cpu)
    cython.cast(WordsP, scratch_operand(cpu))[0] = load(cpu, ea(cpu, i, 8, 0), 8)
    run(cpu, i, FPU_MEMORY, scratch_operand(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_10(cpu: CpuP, i: InstrP) -> cython.void:
    """A source of m80fp or m80bcd."""
    check_x87(cpu)
    load_bytes(cpu, ea(cpu, i, 10, 0), scratch_operand(cpu), 10)
    run(cpu, i, FPU_MEMORY, scratch_operand(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stack(cpu: CpuP, i: InstrP) -> cython.void:
    """Operands on the register stack, or none."""
    check_x87(cpu)
    run(cpu, i, 0, cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stack_flags(cpu: CpuP, i: InstrP) -> cython.void:
    """FCMOVcc reads EFLAGS; FCOMI and its kin set ZF PF CF and clear the others."""
    check_x87(cpu)
    before: uint64_t = (get_rflags(cpu) & 0xFF) << 8
    after: uint64_t = run(cpu, i, FPU_FLAGS, cython.cast(ConstBytes, before))
    if entry_info(i.entry).digit >= 5:
        set_arithmetic_flags(cpu, after >> 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_aside(cpu: CpuP, i: InstrP) -> cython.bint:
    """Run an instruction that stores: its value in scratch_operand, the new state in scratch_image.
    Whether there is a value: an unmasked exception other than precision leaves memory alone.
    """
    aside: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    call_thunk(cpu, i, FPU | FPU_MEMORY, cython.address(cpu.a.fx), scratch_operand(cpu), aside)
    return aside.fsw & ~aside.fcw & (FSW_IE | FSW_OE | FSW_UE) == 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit(cpu: CpuP, i: InstrP) -> cython.void:
    aside: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    cpu.a.fx.fsw = aside.fsw
    cpu.a.fx.ftw = aside.ftw
    memcpy(cpu.a.fx.st, aside.st, 128)
    record_pointers(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_part(cpu: CpuP, i: InstrP, size: cython.int) -> cython.void:
    """The register stack may pop, so memory comes first: it can fault, or leave to a device."""
    check_x87(cpu)
    la: uint64_t = ea(cpu, i, size, 1)
    check_write(cpu, la, size)
    if run_aside(cpu, i):
        if size <= 8:
            store(cpu, la, cython.cast(WordsP, scratch_operand(cpu))[0], size)
        else:
            store_bytes(cpu, la, scratch_operand(cpu), size)
    commit(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_2(cpu: CpuP, i: InstrP) -> cython.void:
    store_part(cpu, i, 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_4(cpu: CpuP, i: InstrP) -> cython.void:
    store_part(cpu, i, 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_8(cpu: CpuP, i: InstrP) -> cython.void:
    store_part(cpu, i, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_10(cpu: CpuP, i: InstrP) -> cython.void:
    store_part(cpu, i, 10)
    next_(cpu, i)
