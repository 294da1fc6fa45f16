"""x87 control: FNINIT, FLDCW, FNSTENV and their kin. SDM vol. 1, 8.1.10 and 8.3.11.

The environment has four layouts: 14 or 28 bytes by operand size, pointers as selector and offset
in protected mode, as linear addresses in real and virtual-8086 mode.
"""

import cython
from cython.cimports.libc.stdint import uint16_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86.access import load, load_bytes, store, store_bytes
from cython.cimports.ringfence.core.x86.faults import raise_fault
from cython.cimports.ringfence.core.x86.operands import ea, next_
from cython.cimports.ringfence.core.x86.state import (
    CR0_MP,
    CR0_TS,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_PROTECTED,
    NM,
    RAX,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import Bytes, scratch_operand
from cython.cimports.ringfence.core.x86.x87 import (
    FCW_ALWAYS,
    FCW_RESET,
    FCW_VALID,
    FSW_ES,
    FSW_EXCEPTIONS,
    FSW_KEPT_BY_FNCLEX,
    FSW_TOP_SHIFT,
    FxsaveP,
    check_x87,
    check_x87_control,
    get_top,
    set_summary,
    set_top,
    x87_pending,
)
from cython.cimports.ringfence.core.x86.x87_control import Halves, Longs


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_control(fx: FxsaveP, value: uint16_t) -> cython.void:
    fx.fcw = value & FCW_VALID | FCW_ALWAYS
    set_summary(fx)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def initialise(cpu: CpuP) -> cython.void:
    """FNINIT: the register contents stay, all tagged empty."""
    set_top(cpu, 0)
    cpu.a.fx.fcw = FCW_RESET
    cpu.a.fx.fsw = 0
    cpu.a.fx.ftw = 0
    cpu.a.fx.fop = 0
    cpu.a.fx.fip = 0
    cpu.a.fx.fdp = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def tag_of(st: Bytes) -> cython.int:
    """The tag of a register that is not empty: 0 valid, 1 zero, 2 special (8.1.7)."""
    fraction: uint64_t = cython.cast(cython.pointer(uint64_t), st)[0]
    exponent: cython.int = cython.cast(Halves, st)[4] & 0x7FFF
    if exponent == 0 and fraction == 0:
        return 1
    return 2 if exponent == 0x7FFF or exponent == 0 or not fraction >> 63 else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def tag_word(fx: FxsaveP) -> cython.int:
    """The full tag word, two bits for each physical register, from the abridged one."""
    number: cython.int
    word: cython.int = 0
    for number in range(8):
        if fx.ftw >> number & 1:
            word |= tag_of(cython.address(fx.st[(number - get_top(fx) & 7) * 16])) << 2 * number
        else:
            word |= 3 << 2 * number
    return word


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def abridge(word: cython.int) -> cython.int:
    number: cython.int
    tags: cython.int = 0
    for number in range(8):
        if word >> 2 * number & 3 != 3:
            tags |= 1 << number
    return tags


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def selector_of(cpu: CpuP, pointer: uint64_t) -> uint16_t:
    """Of FIP or FDP; 64-bit code keeps none."""
    return 0 if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 else pointer >> 32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def linear_of(pointer: uint64_t) -> uint32_t:
    """FIP or FDP as real mode shows it."""
    return cython.cast(uint32_t, pointer) + (cython.cast(uint32_t, pointer >> 32) << 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_real_layout(cpu: CpuP) -> cython.bint:
    return not cpu.mode & MODE_PROTECTED


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_environment(cpu: CpuP, i: InstrP, to: Bytes) -> cython.int:
    """Its size in bytes."""
    fx: FxsaveP = cython.address(cpu.a.fx)
    h: Halves = cython.cast(Halves, to)
    d: Longs = cython.cast(Longs, to)
    ip: uint32_t = linear_of(fx.fip)
    dp: uint32_t = linear_of(fx.fdp)
    if i.width == 1:
        h[0], h[1], h[2] = fx.fcw, fx.fsw, tag_word(fx)
        h[3], h[5] = ip, dp
        h[4], h[6] = ip >> 16 << 12 | fx.fop & 0x7FF, dp >> 16 << 12
        if not is_real_layout(cpu):
            h[3], h[5] = fx.fip, fx.fdp
            h[4], h[6] = selector_of(cpu, fx.fip), selector_of(cpu, fx.fdp)
        return 14
    memset(to, 0xFF, 28)  # the unused halves read as ones
    h[0], h[2], h[4] = fx.fcw, fx.fsw, tag_word(fx)
    if is_real_layout(cpu):
        h[6], h[10] = ip, dp
        d[4], d[6] = ip >> 16 << 12 | fx.fop & 0x7FF, dp >> 16 << 12
    else:
        d[3], d[5] = fx.fip, fx.fdp
        d[4] = selector_of(cpu, fx.fip) | cython.cast(uint32_t, fx.fop & 0x7FF) << 16
        h[12] = selector_of(cpu, fx.fdp)
    return 28


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def environment_size(i: InstrP) -> cython.int:
    return 14 if i.width == 1 else 28


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_environment(cpu: CpuP, i: InstrP, h: Halves) -> cython.void:
    """TOP changes and the registers don't move; FRSTOR then overwrites them."""
    fx: FxsaveP = cython.address(cpu.a.fx)
    d: Longs = cython.cast(Longs, h)
    step: cython.int = 1 if i.width == 1 else 2
    set_top(cpu, h[step] >> FSW_TOP_SHIFT & 7)
    fx.fsw = h[step]
    fx.ftw = abridge(h[2 * step])
    set_control(fx, h[0])
    if i.width == 1:
        if is_real_layout(cpu):
            fx.fop = h[4] & 0x7FF
            fx.fip = h[3] | cython.cast(uint32_t, h[4] & 0xF000) << 4
            fx.fdp = h[5] | cython.cast(uint32_t, h[6] & 0xF000) << 4
        else:
            fx.fip = h[3] | cython.cast(uint64_t, h[4]) << 32
            fx.fdp = h[5] | cython.cast(uint64_t, h[6]) << 32
    elif is_real_layout(cpu):
        fx.fop = d[4] & 0x7FF
        fx.fip = h[6] | d[4] >> 12 << 16
        fx.fdp = h[10] | d[6] >> 12 << 16
    else:
        fx.fop = h[9] & 0x7FF
        fx.fip = d[3] | cython.cast(uint64_t, h[8]) << 32
        fx.fdp = d[5] | cython.cast(uint64_t, h[12]) << 32
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        fx.fip = cython.cast(uint32_t, fx.fip)
        fx.fdp = cython.cast(uint32_t, fx.fdp)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fninit(cpu: CpuP, i: InstrP) -> cython.void:
    check_x87_control(cpu)
    initialise(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnclex(cpu: CpuP, i: InstrP) -> cython.void:
    check_x87_control(cpu)
    cpu.a.fx.fsw &= FSW_KEPT_BY_FNCLEX
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnop(cpu: CpuP, i: InstrP) -> cython.void:
    check_x87(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fneni(cpu: CpuP, i: InstrP) -> cython.void:
    """FNENI, FNDISI, FNSETPM of older processors: no operation any more, and they do not wait."""
    check_x87_control(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fwait(cpu: CpuP, i: InstrP) -> cython.void:
    if cpu.a.cr0 & CR0_MP and cpu.a.cr0 & CR0_TS:
        raise_fault(cpu, NM)
    if cpu.a.fx.fsw & FSW_ES:
        x87_pending(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fldcw(cpu: CpuP, i: InstrP) -> cython.void:
    """m16"""
    check_x87(cpu)
    set_control(cython.address(cpu.a.fx), load(cpu, ea(cpu, i, 2, 0), 2))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnstcw(cpu: CpuP, i: InstrP) -> cython.void:
    """m16"""
    check_x87_control(cpu)
    store(cpu, ea(cpu, i, 2, 1), cpu.a.fx.fcw, 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnstsw(cpu: CpuP, i: InstrP) -> cython.void:
    """m16"""
    check_x87_control(cpu)
    store(cpu, ea(cpu, i, 2, 1), cpu.a.fx.fsw, 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnstsw_ax(cpu: CpuP, i: InstrP) -> cython.void:
    """AX"""
    check_x87_control(cpu)
    cpu.a.regs[RAX] = cpu.a.regs[RAX] & ~cython.cast(uint64_t, 0xFFFF) | cpu.a.fx.fsw
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fldenv(cpu: CpuP, i: InstrP) -> cython.void:
    """m14/28byte"""
    check_x87(cpu)
    load_bytes(cpu, ea(cpu, i, environment_size(i), 0), scratch_operand(cpu), environment_size(i))
    read_environment(cpu, i, cython.cast(Halves, scratch_operand(cpu)))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnstenv(cpu: CpuP, i: InstrP) -> cython.void:
    """m14/28byte; afterwards all exceptions are masked."""
    check_x87_control(cpu)
    size: cython.int = write_environment(cpu, i, scratch_operand(cpu))
    store_bytes(cpu, ea(cpu, i, size, 1), scratch_operand(cpu), size)
    set_control(cython.address(cpu.a.fx), cpu.a.fx.fcw | FSW_EXCEPTIONS)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fnsave(cpu: CpuP, i: InstrP) -> cython.void:
    """m94/108byte: the environment and ST0 to ST7, 10 bytes each; then FNINIT."""
    check_x87_control(cpu)
    image: Bytes = scratch_operand(cpu)
    size: cython.int = write_environment(cpu, i, image)
    k: cython.int
    for k in range(8):
        memcpy(image + size + 10 * k, cython.address(cpu.a.fx.st[16 * k]), 10)
    store_bytes(cpu, ea(cpu, i, size + 80, 1), image, size + 80)
    initialise(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def frstor(cpu: CpuP, i: InstrP) -> cython.void:
    """m94/108byte"""
    check_x87(cpu)
    image: Bytes = scratch_operand(cpu)
    size: cython.int = environment_size(i)
    k: cython.int
    load_bytes(cpu, ea(cpu, i, size + 80, 0), image, size + 80)
    read_environment(cpu, i, cython.cast(Halves, image))
    memset(cpu.a.fx.st, 0, 128)
    for k in range(8):
        memcpy(cython.address(cpu.a.fx.st[16 * k]), image + size + 10 * k, 10)
    next_(cpu, i)
