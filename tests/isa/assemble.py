"""Machine code from a row of tables/x86*.tbl: SDM vol. 2, chapter 2 and appendix A.2 (operand codes).

A row has several *variants*: operand sizes, register or memory operand, LOCK. `encode` writes a variant
with chosen registers, memory operand and immediate.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from assemble_vector import is_vector, lengths, prefix, uses_b
from x86_table import Row

#: operand codes by what ModRM.rm can be
MEMORY_OR_REGISTER = "EWQ"
REGISTER_ONLY = "RUN"
#: mnemonics without an operand that shows their operand size
IMPLIED_SIZE = {"cbw", "cwd", "pusha", "popa", "push", "pop", "pushf", "popf", "retf", "iret"}


@dataclass(frozen=True)
class Memory:
    """A memory operand: [base + index << scale + disp]. In 16-bit addressing `base` is ModRM.rm itself."""

    base: int | None
    index: int | None = None
    scale: int = 0
    disp: int = 0
    disp_bytes: int = 4
    is_rip_relative: bool = False
    address_bits: int = 64
    disp8_unit: int = 1


@dataclass(frozen=True)
class Variant:
    """How a row is written. `width` is the operand size in bits, 0 where it does not matter.

    `length` is L'L; `is_broadcast` is EVEX.b, which means rounding where no operand is in memory.
    """

    mode: int
    width: int
    is_memory: bool
    is_locked: bool = False
    length: int = 0
    is_broadcast: bool = False

    def __str__(self) -> str:
        parts = [f"{self.width}-bit" if self.width else "", "mem" if self.is_memory else "reg"]
        parts += [f"L{self.length}" if self.length else "", "b" if self.is_broadcast else ""]
        return " ".join(filter(None, [*parts, "lock" if self.is_locked else ""]))


@dataclass
class Choice:
    """The fields of one instruction."""

    reg: int = 0
    rm: int = 0
    low: int = 0
    vvvv: int = 0
    memory: Memory | None = None
    immediate: int = 0
    prefixes: bytes = b""  # without effect on the result, or a segment override
    rex: int = 0  # extra REX bits: 0x40 for a REX without effect
    repeat: int = 0  # F2 or F3 of string instructions
    opmask: int = 0  # the rest is EVEX
    zeroing: int = 0
    rounding: int = 0


def rm_operand(row: Row) -> str:
    """The operand in ModRM.rm, or an empty string."""
    if not row.has_modrm or row.exact >= 0:
        return ""
    for operand in row.operands:
        if operand[0] in MEMORY_OR_REGISTER + REGISTER_ONLY + "M" or operand == "STi":
            return operand
        if operand.startswith(("KW", "KU")):
            return operand[1:]
    return ""


def has_size(row: Row, letters: str) -> bool:
    """Whether an operand's size follows the operand-size attribute: v z (16 32 64) or y (32 64)."""
    return any(re.fullmatch(rf"[A-Z][{letters}]|[er]AX", operand) for operand in row.operands)


def follows_operand_size(row: Row) -> bool:
    """Whether 66 makes the row another size."""
    is_implied = row.mnemonic in IMPLIED_SIZE or row.attributes & {"d64", "f64"}
    return bool(is_implied) or has_size(row, "vzp")


def widths(row: Row, mode: int) -> list[int]:
    """Operand sizes worth a variant of their own."""
    found = [32]
    if follows_operand_size(row):
        found = [32] if row.mnemonic == "bswap" else [16, 32]
    elif not has_size(row, "y"):
        return [0]
    if row.prefix in (1, 0x66) and has_size(row, "v"):
        found = [16] if (row.prefix == 1) == (mode == 16) else [32]
    return found + ([64] if mode == 64 else [])


def variants(row: Row, mode: int) -> list[Variant]:
    """Everything this row can be in a mode (16, 32, 64)."""
    if row.attributes & ({"i64"} if mode == 64 else {"o64"}) or ("pm" in row.attributes and mode == 16):
        return []
    operand = rm_operand(row)
    forms = [row.form == 1]
    if operand and operand[0] in MEMORY_OR_REGISTER and not row.form:
        forms = [False, True]
    elif operand and operand[0] == "M":
        forms = [True]
    if is_vector(row):
        return [
            Variant(mode, width, is_memory, False, length, is_broadcast)
            for width in widths(row, mode)
            for is_memory in forms
            for length in lengths(row)
            for is_broadcast in ((False, True) if uses_b(row, is_memory) else (False,))
        ]
    found = []
    for width in widths(row, mode):
        for is_memory in forms:
            found.append(Variant(mode, width, is_memory))
            if is_memory and "lock" in row.attributes:
                found.append(Variant(mode, width, True, True))
    return found


def immediate_bytes(row: Row, variant: Variant) -> int:
    """Bytes of the immediates of all operands together."""
    width = variant.width or 32
    total = 0
    for operand in row.operands:
        if operand in ("Ib", "Ibs", "Jb", "Lx"):
            total += 1
        elif operand == "Iw":
            total += 2
        elif operand in ("Iz", "Jz"):
            total += 2 if width == 16 else 4
        elif operand == "Iv":
            total += width // 8
        elif operand == "Ap":
            total += width // 8 + 2
        elif operand in ("Ob", "Ov"):
            total += variant.mode // 8
    return total


def modrm_16(reg: int, memory: Memory) -> bytes:
    """16-bit addressing: `base` is ModRM.rm, None an absolute address."""
    if memory.base is None:
        return bytes([reg << 3 | 6]) + struct.pack("<H", memory.disp & 0xFFFF)
    mod = {0: 0, 1: 1, 2: 2}[min(memory.disp_bytes, 2)]
    packed = (memory.disp & (1 << 8 * mod) - 1).to_bytes(mod, "little")
    return bytes([mod << 6 | reg << 3 | memory.base]) + packed


def modrm_memory(reg: int, memory: Memory) -> bytes:
    """ModRM, SIB and displacement of 32- and 64-bit addressing."""
    disp = memory.disp & 0xFFFF_FFFF
    if memory.is_rip_relative:
        return bytes([reg << 3 | 5]) + struct.pack("<I", disp)
    index = 4 if memory.index is None else memory.index & 7
    if memory.base is None:
        return bytes([reg << 3 | 4, memory.scale << 6 | index << 3 | 5]) + struct.pack("<I", disp)
    base = memory.base & 7
    mod = {0: 0, 1: 1, 4: 2}[memory.disp_bytes]
    if mod == 0 and base == 5:
        mod = 1
    packed = (
        b""
        if mod == 0
        else bytes([memory.disp // memory.disp8_unit & 0xFF])
        if mod == 1
        else struct.pack("<I", disp)
    )
    if base == 4 or memory.index is not None:
        return bytes([mod << 6 | reg << 3 | 4, memory.scale << 6 | index << 3 | base]) + packed
    return bytes([mod << 6 | reg << 3 | base]) + packed


def modrm(row: Row, choice: Choice) -> bytes:
    if row.exact >= 0:
        return bytes([row.exact])
    reg = row.digit if row.digit >= 0 else choice.reg & 7
    if choice.memory is None:
        return bytes([0xC0 | reg << 3 | choice.rm & 7])
    if choice.memory.address_bits == 16:
        return modrm_16(reg, choice.memory)
    return modrm_memory(reg, choice.memory)


def rex_bits(row: Row, variant: Variant, choice: Choice) -> int:
    """W R X B as in a REX prefix, 0x40 among them if it is needed for nothing else."""
    bits = choice.rex
    if variant.width == 64:
        bits |= 8
    if row.has_modrm and row.exact < 0 and row.digit < 0:
        bits |= (choice.reg >> 3 & 1) << 2
    memory = choice.memory
    if memory is not None:
        bits |= ((memory.index or 0) >> 3 & 1) << 1 | (memory.base or 0) >> 3
    elif row.has_low_register:
        bits |= choice.low >> 3
    else:
        bits |= choice.rm >> 3 & 1
    return bits


def needs_66(row: Row, variant: Variant) -> bool:
    """Whether the operand size has to be changed; a mandatory 66 is written apart."""
    default = 16 if variant.mode == 16 else 32
    return variant.width == 48 - default and row.prefix != 0x66 and follows_operand_size(row)


def encode(row: Row, variant: Variant, choice: Choice) -> bytes:
    """The instruction's bytes."""
    tail = (modrm(row, choice) if row.has_modrm else b"") + immediates(row, variant, choice)
    opcode = bytes([row.opcode | (choice.low & 7 if row.has_low_register else 0)])
    head = choice.prefixes
    memory = choice.memory
    if memory is not None and memory.address_bits != variant.mode:
        head += b"\x67"
    if row.vex:
        return head + prefix(row, variant, choice, rex_bits(row, variant, choice)) + opcode + tail
    if variant.is_locked:
        head += b"\xf0"
    if needs_66(row, variant):
        head += b"\x66"
    if row.prefix > 1:
        head += bytes([row.prefix])
    if choice.repeat:
        head += bytes([choice.repeat])
    bits = rex_bits(row, variant, choice) if variant.mode == 64 else 0
    if bits:
        head += bytes([0x40 | bits])
    return head + {0: b"", 1: b"\x0f", 2: b"\x0f\x38", 3: b"\x0f\x3a"}[row.map] + opcode + tail


def immediates(row: Row, variant: Variant, choice: Choice) -> bytes:
    size = immediate_bytes(row, variant)
    return (choice.immediate & (1 << 8 * size) - 1).to_bytes(size, "little")
