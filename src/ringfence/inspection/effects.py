"""What one host instruction does, as far as a proof needs to know: over iced-x86's instruction tables.

An effect does not depend on where the instruction is, so each encoding is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from iced_x86 import (
    CodeSize,
    Decoder,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)

#: the 64-bit ones, in the order of their numbers
GPRS = {
    Register.RAX: 0, Register.RCX: 1, Register.RDX: 2, Register.RBX: 3,
    Register.RSP: 4, Register.RBP: 5, Register.RSI: 6, Register.RDI: 7,
    Register.R8: 8, Register.R9: 9, Register.R10: 10, Register.R11: 11,
    Register.R12: 12, Register.R13: 13, Register.R14: 14, Register.R15: 15,
}  # fmt: skip
WRITES = {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
NO_ACCESS = {OpAccess.NONE, OpAccess.NO_MEM_ACCESS}
#: what would change the host's own state, or show it, or lead out of the code cache
FORBIDDEN = {
    Mnemonic.SYSCALL, Mnemonic.SYSENTER, Mnemonic.RDFSBASE, Mnemonic.RDGSBASE, Mnemonic.WRFSBASE,
    Mnemonic.WRGSBASE, Mnemonic.RDPKRU, Mnemonic.WRPKRU, Mnemonic.XGETBV, Mnemonic.CPUID, Mnemonic.RDTSC,
    Mnemonic.RDTSCP, Mnemonic.RDPMC, Mnemonic.RDPID, Mnemonic.SGDT, Mnemonic.SIDT, Mnemonic.SLDT,
    Mnemonic.STR, Mnemonic.SMSW, Mnemonic.VERR, Mnemonic.VERW, Mnemonic.LAR, Mnemonic.LSL, Mnemonic.STD,
    Mnemonic.CLD, Mnemonic.LDMXCSR, Mnemonic.VLDMXCSR, Mnemonic.FLDCW, Mnemonic.FLDENV, Mnemonic.FRSTOR,
    Mnemonic.FXRSTOR, Mnemonic.FXRSTOR64, Mnemonic.XRSTOR, Mnemonic.XRSTOR64, Mnemonic.XLATB,
    Mnemonic.ENQCMD, Mnemonic.UMONITOR, Mnemonic.UMWAIT, Mnemonic.TPAUSE, Mnemonic.LSS, Mnemonic.LFS,
    Mnemonic.LGS, Mnemonic.LDS, Mnemonic.LES,
}  # fmt: skip
BIT_STRING = {Mnemonic.BT, Mnemonic.BTS, Mnemonic.BTR, Mnemonic.BTC}
FLOWS = {
    FlowControl.NEXT: "",
    FlowControl.UNCONDITIONAL_BRANCH: "jump",
    FlowControl.CONDITIONAL_BRANCH: "branch",
    FlowControl.INDIRECT_BRANCH: "indirect",
}
IMMEDIATES = {
    OpKind.IMMEDIATE8, OpKind.IMMEDIATE8TO32, OpKind.IMMEDIATE8TO64, OpKind.IMMEDIATE32,
    OpKind.IMMEDIATE32TO64, OpKind.IMMEDIATE64,
}  # fmt: skip
#: mnemonics whose result is followed
FOLLOWED = {
    Mnemonic.MOV: "mov", Mnemonic.LEA: "lea", Mnemonic.RORX: "rorx", Mnemonic.SHR: "shr",
    Mnemonic.SHL: "shl", Mnemonic.ADD: "add", Mnemonic.SUB: "sub", Mnemonic.AND: "and",
    Mnemonic.OR: "or", Mnemonic.XOR: "xor", Mnemonic.CMP: "cmp", Mnemonic.TEST: "test",
    Mnemonic.IMUL: "imul", Mnemonic.CMOVB: "cmovb", Mnemonic.INC: "inc", Mnemonic.DEC: "dec",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory operand; ``base`` and ``index`` are register numbers, or -1."""

    base: int
    index: int
    scale: int
    disp: int
    size: int
    is_write: bool


@dataclass(frozen=True, slots=True)
class Operand:
    """``register``: a number; ``memory``: the effect's; ``immediate``: a number, sign-extended to 64 bits."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Effect:
    """An instruction's. ``name`` and ``operands`` only where the result is followed, with ``bits`` of operand
    size; ``address`` is the address that LEA computes."""

    error: str = ""
    flow: str = ""
    name: str = ""
    bits: int = 0
    operands: tuple[Operand, ...] = ()
    address: Memory | None = None
    accesses: tuple[Memory, ...] = ()
    writes: tuple[int, ...] = ()
    condition: int = 0
    changes_flags: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction in its place; ``target`` of a direct branch."""

    position: int
    code: bytes
    effect: Effect
    target: int = 0

    @property
    def end(self) -> int:
        return self.position + len(self.code)


_effects: dict[bytes, Effect] = {}


def decode(code: bytes, position: int) -> Iterator[Step]:
    """The instructions from ``position`` on, to the last byte."""
    decoder = Decoder(64, code, ip=position)
    for instruction in decoder:
        at = instruction.ip - position
        raw = code[at : at + instruction.len]
        if instruction.is_jmp_short_or_near or instruction.is_jcc_short_or_near:
            effect = _branch(raw[0], raw[1] if raw[0] == 0x0F else 0)
            yield Step(instruction.ip, raw, effect, instruction.near_branch_target)
            continue
        found = _effects.get(raw)
        if found is None:
            found = _effects[raw] = _effect_of(instruction)
        yield Step(instruction.ip, raw, found)


@cache
def _branch(first: int, second: int) -> Effect:
    if first in (0xE9, 0xEB):
        return Effect(flow="jump")
    return Effect(flow="branch", condition=(second if first == 0x0F else first) & 15)


def _effect_of(instruction: Instruction) -> Effect:
    error = _error_of(instruction)
    if error:
        return Effect(error=error)
    info = InstructionInfoFactory().info(instruction)
    accesses = []
    for used in info.used_memory():
        if used.access in NO_ACCESS:
            continue
        if used.address_size != CodeSize.CODE64 or used.vsib_size:
            return Effect(error="an address of another form than base + index")
        size = MemorySizeExt.size(used.memory_size)
        base, index = _number(used.base), _number(used.index)
        if base is None or index is None or not size:
            return Effect(error="an operand that is nowhere known")
        accesses.append(
            Memory(base, index, used.scale, _signed(used.displacement), size, used.access in WRITES)
        )
    writes = set()
    for register in info.used_registers():
        if register.access in WRITES:
            if RegisterExt.is_segment_register(register.register):
                return Effect(error="it loads a segment register")
            if RegisterExt.is_gpr(register.register):
                writes.add(GPRS[RegisterExt.full_register(register.register)])
    name, bits, operands, address = _followed(instruction)
    return Effect(
        flow=FLOWS[instruction.flow_control],
        name=name,
        bits=bits,
        operands=operands,
        address=address,
        accesses=tuple(accesses),
        writes=tuple(sorted(writes)),
        changes_flags=instruction.rflags_modified != 0,
    )


def _error_of(instruction: Instruction) -> str:
    """Why an instruction may not be in translated code at all."""
    if instruction.is_invalid:
        return "not an instruction"
    if instruction.is_privileged or instruction.mnemonic in FORBIDDEN:
        return "an instruction that reaches the host's own state"
    if instruction.is_stack_instruction or instruction.flow_control not in FLOWS:
        return "an instruction that uses the host's stack or leaves the process's own code"
    if instruction.is_string_instruction:
        return "an instruction with memory operands of its own"
    if instruction.segment_prefix != Register.NONE:
        return "an address with a segment base"
    if instruction.is_ip_rel_memory_operand:
        return "an address that depends on where the code is"
    kinds = instruction.op0_kind, instruction.op1_kind
    if instruction.mnemonic in BIT_STRING and kinds == (OpKind.MEMORY, OpKind.REGISTER):
        return "a bit string of any length"
    return ""


def _followed(instruction: Instruction) -> tuple[str, int, tuple[Operand, ...], Memory | None]:
    name = FOLLOWED.get(instruction.mnemonic, "")
    operands = []
    bits = 0
    for k in range(instruction.op_count):
        kind = instruction.op_kind(k)
        if kind == OpKind.REGISTER:
            register = instruction.op_register(k)
            if not RegisterExt.is_gpr64(register) and not RegisterExt.is_gpr32(register):
                return "", 0, (), None
            bits = bits or RegisterExt.size(register) * 8
            operands.append(Operand("register", GPRS[RegisterExt.full_register(register)]))
        elif kind == OpKind.MEMORY:
            if name != "lea":
                bits = bits or MemorySizeExt.size(instruction.memory_size) * 8
            operands.append(Operand("memory", 0))
        elif kind in IMMEDIATES:
            operands.append(Operand("immediate", instruction.immediate(k)))
        else:
            return "", 0, (), None
    if not name or bits not in (32, 64):
        return "", 0, (), None
    address = None
    if name == "lea":
        base, index = _number(instruction.memory_base), _number(instruction.memory_index)
        if base is None or index is None:
            return "", 0, (), None
        disp = _signed(instruction.memory_displacement)
        address = Memory(base, index, instruction.memory_index_scale, disp, 0, False)
    return name, bits, tuple(operands), address


def _number(register: Any) -> int | None:
    """A 64-bit general register's number; -1 for none; None for any other."""
    return -1 if register == Register.NONE else GPRS.get(register)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
