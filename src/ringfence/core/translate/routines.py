"""The code that every translation shares: in from C, out to C, and the way between.

Translated code keeps all the guest's general registers but two in the host's registers of the same
name, RSP included: it has no host stack. The register map says which two are in `cpu.a.regs`; their
host registers are scratch. Every routine that moves registers exists once for each map in use.

    enter      called as a C function: host registers put by, guest's loaded, on to cpu.jump_target
    leave      guest registers put by, back to the caller of `enter`
    callout    guest registers put by, the C function called on the host's stack; it returns the
               routine to go on with: `restore` of some map, or `leave_saved`
    restore    guest registers loaded, flags too, on to cpu.jump_target

x87 and vector registers are the guest's while cpu.vector_ready says so. A call-out saves only the XMM
registers, where there are no wider ones; `save_vector` does the rest when an instruction is interpreted.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.translate.encode import (
    CC_E,
    FORM_W,
    NO_REG,
    Emitter,
    EmitterP,
    Operand,
    absolute,
    join,
    memory_operand,
    position,
    put8,
    put32,
    put_constant,
    put_forward_branch,
    put_forward_jump,
    put_jump,
    put_load,
    put_op,
    put_rr,
    put_store,
    put_store_imm32,
)
from cython.cimports.ringfence.core.translate.routines import Callout, Enter
from cython.cimports.ringfence.core.translate.translation import CANONICAL, TranslatorP
from cython.cimports.ringfence.core.x86.state import RAX, RDI, RDX, RSP, CpuP
from cython.cimports.ringfence.core.x86.xsave_state import xcr0_mask

RBX = cython.declare(cython.int, 3)
RBP = cython.declare(cython.int, 5)
MOVAPS_LOAD = cython.declare(cython.int, 0x128)
MOVAPS_STORE = cython.declare(cython.int, 0x129)
MXCSR_DEFAULT = cython.declare(uint32_t, 0x1F80)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_registers_away(e: EmitterP, cpu: CpuP, map: cython.int) -> cython.void:
    reg: cython.int
    for reg in range(16):
        if not (map << 8) >> reg & 1:
            put_store(e, reg, cython.address(cpu.a.regs[reg]))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def upper_components(cpu: CpuP) -> uint32_t:
    """State components above SSE that the model has: the lowest 32 bits hold all that are known."""
    return xcr0_mask(cpu) & ~cython.cast(uint64_t, 3)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_upper_mask(e: EmitterP, cpu: CpuP) -> cython.void:
    """EDX:EAX for XSAVEC and XRSTOR: FXSAVE and FXRSTOR take care of the rest."""
    put_constant(e, RAX, upper_components(cpu))
    put_constant(e, RDX, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_vector_save(e: EmitterP, cpu: CpuP) -> cython.void:
    """The x87 pointers would name host code: a guest sees none (SDM vol. 1, 8.1.8 lets them be 0)."""
    image: Operand = absolute(cython.address(cpu.a.fx))
    field: Operand
    put_op(e, FORM_W, 0x1AE, 0, cython.address(image))  # fxsave64
    if upper_components(cpu):
        put_upper_mask(e, cpu)
        put_op(e, FORM_W, 0x1C7, 4, cython.address(image))  # xsavec64
    put_store_imm32(e, cython.address(cpu.a.fx.fip), 0)
    field = absolute(cython.address(cpu.a.fx.fip))
    put_op(e, FORM_W, 0xC7, 0, cython.address(field))
    put32(e, 0)
    field = absolute(cython.address(cpu.a.fx.fdp))
    put_op(e, FORM_W, 0xC7, 0, cython.address(field))
    put32(e, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_xmm(e: EmitterP, cpu: CpuP, opcode: cython.int) -> cython.void:
    """MOVAPS of all XMM registers: all that C changes before a call-out knows what it has to do."""
    field: Operand
    reg: cython.int
    for reg in range(16):
        field = absolute(cython.address(cpu.a.fx.xmm[16 * reg]))
        put_op(e, 0, opcode, reg, cython.address(field))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_vector_test(e: EmitterP, cpu: CpuP) -> cython.pointer(uint8_t):
    """A branch around what follows when the host's vector registers are not the guest's."""
    ready: Operand = absolute(cython.address(cpu.vector_ready))
    put_op(e, 0, 0x83, 7, cython.address(ready))
    put8(e, 0)
    return put_forward_branch(e, CC_E)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_vector_reset(e: EmitterP, cpu: CpuP) -> cython.void:
    """The host's floating point as C and Python expect it."""
    control: Operand = memory_operand(RSP, NO_REG, 0, -8)
    put8(e, 0xDB)  # fninit
    put8(e, 0xE3)
    put_op(e, 0, 0xC7, 0, cython.address(control))
    put32(e, MXCSR_DEFAULT)
    put_op(e, 0, 0x1AE, 2, cython.address(control))  # ldmxcsr
    put_store_imm32(e, cython.address(cpu.vector_ready), 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_return(e: EmitterP) -> cython.void:
    """Undo what `enter` pushed."""
    reg: cython.int
    put_rr(e, FORM_W, 0x83, 0, RSP)
    put8(e, 8)
    for reg in range(15, 11, -1):
        put8(e, 0x41)
        put8(e, 0x58 | reg & 7)
    put8(e, 0x58 | RBP)
    put8(e, 0x58 | RBX)
    put8(e, 0xC3)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_emitter(t: TranslatorP, e: EmitterP) -> cython.void:
    e.start = t.code.writable
    e.is_evex = 0
    e.field_count = 0
    e.field_limit = 0
    # SAFETY: the routines of a map are shorter than ROUTINE_BYTES / 256
    e.at = e.start + t.routine_used


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def close_emitter(t: TranslatorP, e: EmitterP) -> cython.void:
    t.routine_used = (position(e) + 15) & ~cython.cast(uint32_t, 15)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_leave(e: EmitterP, cpu: CpuP, t: TranslatorP) -> cython.void:
    skip: cython.pointer(uint8_t)
    t.leave_saved = position(e)
    put_load(e, RSP, cython.address(cpu.host_rsp))
    skip = put_vector_test(e, cpu)
    put_vector_save(e, cpu)
    put_vector_reset(e, cpu)
    join(e, skip)
    put_return(e)
    # after a call-out the registers have been saved and C has used them since
    t.leave_called = position(e)
    skip = put_vector_test(e, cpu)
    put_vector_reset(e, cpu)
    join(e, skip)
    put_return(e)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_routines(cpu: CpuP, t: TranslatorP, function: Callout) -> cython.void:
    e: Emitter
    reg: cython.int
    t.function = function
    t.routine_used = 16
    open_emitter(t, cython.address(e))
    put_leave(cython.address(e), cpu, t)
    close_emitter(t, cython.address(e))
    ensure_map(cpu, t, CANONICAL)
    open_emitter(t, cython.address(e))
    t.enter = position(cython.address(e))
    put8(cython.address(e), 0x50 | RBX)
    put8(cython.address(e), 0x50 | RBP)
    for reg in range(12, 16):
        put8(cython.address(e), 0x41)
        put8(cython.address(e), 0x50 | reg & 7)
    put_rr(cython.address(e), FORM_W, 0x83, 5, RSP)
    put8(cython.address(e), 8)
    put_store(cython.address(e), RSP, cython.address(cpu.host_rsp))
    put_jump(cython.address(e), t.restore[CANONICAL])
    t.save_vector = position(cython.address(e))
    put_xmm(cython.address(e), cpu, MOVAPS_LOAD)
    put_vector_save(cython.address(e), cpu)
    put8(cython.address(e), 0xC3)
    t.reset_vector = position(cython.address(e))
    put_vector_reset(cython.address(e), cpu)
    put8(cython.address(e), 0xC3)
    close_emitter(t, cython.address(e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ensure_map(cpu: CpuP, t: TranslatorP, map: cython.int) -> cython.void:
    e: Emitter
    field: Operand
    skip: cython.pointer(uint8_t)
    rest: cython.pointer(uint8_t) = cython.NULL
    reg: cython.int
    if t.restore[map]:
        return
    open_emitter(t, cython.address(e))
    t.leave[map] = position(cython.address(e))
    put_registers_away(cython.address(e), cpu, map)
    put_jump(cython.address(e), t.leave_saved)
    t.callout[map] = position(cython.address(e))
    put_registers_away(cython.address(e), cpu, map)
    for reg in range(8, 16):
        if (map << 8) >> reg & 1:
            put_store(cython.address(e), reg, cython.address(cpu.held[reg & 7]))
    put_load(cython.address(e), RSP, cython.address(cpu.host_rsp))
    skip = put_vector_test(cython.address(e), cpu)
    if upper_components(cpu):
        put_vector_save(cython.address(e), cpu)
    else:
        put_xmm(cython.address(e), cpu, MOVAPS_STORE)
    join(cython.address(e), skip)
    put_constant(cython.address(e), RDI, cython.cast(uint64_t, cpu))
    put_constant(cython.address(e), RAX, cython.cast(uint64_t, t.function))
    put8(cython.address(e), 0xFF)  # call rax
    put8(cython.address(e), 0xD0)
    put8(cython.address(e), 0xFF)  # jmp rax
    put8(cython.address(e), 0xE0)
    t.restore_plain[map] = position(cython.address(e))
    if not upper_components(cpu):
        skip = put_vector_test(cython.address(e), cpu)
        put_xmm(cython.address(e), cpu, MOVAPS_LOAD)
        join(cython.address(e), skip)
        rest = put_forward_jump(cython.address(e))
    t.restore[map] = position(cython.address(e))
    skip = put_vector_test(cython.address(e), cpu)
    field = absolute(cython.address(cpu.a.fx))
    put_op(cython.address(e), FORM_W, 0x1AE, 1, cython.address(field))  # fxrstor64
    if upper_components(cpu):
        put_upper_mask(cython.address(e), cpu)
        put_op(cython.address(e), FORM_W, 0x1AE, 5, cython.address(field))  # xrstor64
    join(cython.address(e), skip)
    if rest != cython.NULL:
        join(cython.address(e), rest)
    field = absolute(cython.address(cpu.saved_flags))
    put_op(cython.address(e), 0, 0x1B7, RAX, cython.address(field))
    put8(cython.address(e), 0x04)  # add al, 127
    put8(cython.address(e), 0x7F)
    put8(cython.address(e), 0x9E)  # sahf
    for reg in range(16):
        if (map << 8) >> reg & 1:
            # scratch, or the addend of a TLB entry
            put_load(cython.address(e), reg, cython.address(cpu.held[reg & 7]))
        else:
            put_load(cython.address(e), reg, cython.address(cpu.a.regs[reg]))
    field = absolute(cython.address(cpu.jump_target))
    put_op(cython.address(e), 0, 0xFF, 4, cython.address(field))
    close_emitter(t, cython.address(e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_translated(cpu: CpuP, t: TranslatorP, host: uint64_t) -> cython.void:
    cpu.jump_target = host
    # SAFETY: put_routines() wrote the routine there
    cython.cast(Enter, t.code.executable + t.enter)(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_vector(cpu: CpuP, t: TranslatorP) -> cython.void:
    if t.is_half_saved:
        t.is_half_saved = 0
        # SAFETY: as above
        cython.cast(Enter, t.code.executable + t.save_vector)(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reset_vector(cpu: CpuP, t: TranslatorP) -> cython.void:
    # SAFETY: as above
    cython.cast(Enter, t.code.executable + t.reset_vector)(cpu)
