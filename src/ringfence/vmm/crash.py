"""What a dead guest leaves for its reader: registers and the last instructions, as text."""

from __future__ import annotations

import itertools

from ringfence.vmm.vcpu import Vcpu

#: Bytes of a block that are looked at.
CODE_BYTES = 64
#: Blocks shown before the instruction that was the last.
BLOCKS = 6
#: Instructions shown of a block.
INSTRUCTIONS = 8

ATTR_L, ATTR_DB = 1 << 13, 1 << 14
EFER_LMA = 1 << 10

_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs", "ldtr", "tr")


def describe(vcpu: Vcpu) -> str:
    """Registers, then the instructions of the blocks that ran last."""
    return "\n".join([*_registers(vcpu), "last instructions:", *_instructions(vcpu)])


def _registers(vcpu: Vcpu) -> list[str]:
    def reg(name: str) -> int:
        return int(getattr(vcpu.regs, name))

    lines = [
        "  ".join(f"{name:>3} {reg(name):016x}" for name in _GENERAL[row : row + 4])
        for row in range(0, len(_GENERAL), 4)
    ]
    lines.append(f"rip {reg('rip'):016x}  rflags {reg('rflags'):08x}  efer {reg('efer'):x}")
    lines.append("  ".join(f"{name} {reg(name):x}" for name in ("cr0", "cr2", "cr3", "cr4")))
    for name in _SEGMENTS:
        selector, base, limit, attr = vcpu.segment(name)
        lines.append(f"{name:>4} {selector:04x}  base {base:x}  limit {limit:x}  attr {attr:04x}")
    for name, (base, limit) in (("gdtr", vcpu.gdtr), ("idtr", vcpu.idtr)):
        lines.append(f"{name}       base {base:x}  limit {limit:x}")
    return lines


def _instructions(vcpu: Vcpu) -> list[str]:
    _, base, _, attr = vcpu.segment("cs")
    is_long = bool(vcpu.regs.efer & EFER_LMA and attr & ATTR_L)
    bits = 64 if is_long else 32 if attr & ATTR_DB else 16
    lines: list[str] = []
    for rip, _ in itertools.groupby([*vcpu.recent_blocks()[-BLOCKS:], vcpu.regs.rip]):
        linear = rip if is_long else base + rip & 0xFFFF_FFFF
        code = vcpu.peek(linear, CODE_BYTES)
        lines += _disassemble(code, bits, rip) if code else [f"  {rip:x}  (not mapped)"]
    return lines


def _disassemble(code: bytes, bits: int, rip: int) -> list[str]:
    """A block: its instructions up to the first that goes elsewhere."""
    from iced_x86 import Decoder, FlowControl, Formatter, FormatterSyntax  # only a dead guest needs it

    formatter = Formatter(FormatterSyntax.INTEL)
    lines: list[str] = []
    for instruction in Decoder(bits, code, ip=rip):
        if instruction.is_invalid:
            break
        at = instruction.ip - rip
        raw = code[at : at + instruction.len].hex()
        lines.append(f"  {instruction.ip:x}  {raw:<22} {formatter.format(instruction)}")
        if instruction.flow_control != FlowControl.NEXT or len(lines) == INSTRUCTIONS:
            break
    return lines
