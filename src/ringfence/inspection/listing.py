"""Guest and host code of a translation side by side, everything that has a name by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from iced_x86 import Decoder, Formatter, FormatterSyntax, Instruction, OpKind

from ringfence.api.translations import Translation
from ringfence.inspection.symbols import Names, SystemMap

GUEST_COLUMN = 58
NUMBER = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Line:
    """One host instruction, or a label, at a position of the code cache."""

    position: int
    text: str
    is_label: bool = False


def list_block(block: Translation, names: Names, symbols: SystemMap | None = None) -> Iterator[str]:
    """The translation as text: what it is, then each guest instruction and what became of it."""
    symbol = symbols.name(block.rip) if symbols else None
    free = " ".join(f"r{number}" for number in block.registers)
    kind = "hot, " if block.is_hot else "twin, " if block.is_twin else ""
    yield f"block at {block.rip:#x}" + (f" <{symbol}>" if symbol else "")
    yield (
        f"physical {block.gpa:#x}, {block.bits}-bit, {kind}{block.count} instructions, {len(block.guest)} "
        f"bytes; {len(block.host)} bytes of host code, in which {free} are free"
    )
    guest = iter(guest_lines(block))
    starts = iter(block.starts)
    following = next(starts, block.entry)
    left = ""
    for line in host_lines(block, names):
        if line.position >= following and not line.is_label:
            left = next(guest, "")
            following = next(starts, line.position + 1)
        yield f"{left:<{GUEST_COLUMN}} {line.text}".rstrip()
        left = ""


def guest_lines(block: Translation) -> list[str]:
    """The guest's instructions as it has them."""
    formatter = _formatter()
    lines = []
    for instruction in Decoder(block.bits, block.guest, ip=block.rip):
        at = instruction.ip - block.rip
        raw = block.guest[at : at + instruction.len].hex()
        lines.append(f"{instruction.ip:x}  {raw:<18} {formatter.format(instruction)}")
    return lines


def host_lines(block: Translation, names: Names) -> Iterator[Line]:
    """The host's instructions, with labels where some jump arrives."""
    formatter = _formatter()
    instructions = list(Decoder(64, block.host, ip=block.entry))
    for patch in block.patches:
        instructions += Decoder(64, patch.host, ip=patch.position)
    targets = {_target(instruction) for instruction in instructions}
    own = {instruction.ip for instruction in instructions}
    labels = {at: f"L{k}" for k, at in enumerate(sorted(targets & own - {block.entry}))}
    if block.body != block.entry:
        labels[block.body] = "body"
    for instruction in instructions:
        if instruction.ip in labels:
            yield Line(instruction.ip, f"{labels[instruction.ip]}:", is_label=True)
        yield Line(instruction.ip, "    " + _text(instruction, block, names, labels, formatter))


def _text(
    instruction: Instruction, block: Translation, names: Names, labels: dict[int, str], formatter: Formatter
) -> str:
    target = _target(instruction)
    if target:
        place = labels.get(target) or names.code(target) or f"code+{target:#x}"
        return f"{formatter.format_mnemonic(instruction)} {place}"
    text: str = formatter.format(instruction)
    if OpKind.MEMORY not in [instruction.op_kind(k) for k in range(instruction.op_count)]:
        return text
    before, inside, after = re.fullmatch(r"(.*\[)(.*)(\].*)", text).groups()  # type: ignore[union-attr]
    is_indexed = instruction.memory_index != 0
    address = instruction.memory_displacement
    name = None if instruction.memory_base else names.address(address, is_indexed)
    if name:
        inside = NUMBER.sub(name, inside).replace("*1", "")
    if name == "cpu.site" and instruction.op1_kind == OpKind.IMMEDIATE32TO64:
        record = names.record(block, instruction.immediate32to64)
        after = NUMBER.sub(record, after) if record else after
    if name == "cpu.slots":
        slot = names.address(instruction.immediate32, False)
        after = NUMBER.sub(f"&{slot.partition('.')[0]}", after) if slot else after
    return before + inside + after


def _target(instruction: Instruction) -> int:
    """Of a direct branch; 0 for any other instruction."""
    if instruction.is_jmp_short_or_near or instruction.is_jcc_short_or_near:
        return instruction.near_branch_target
    return 0


def _formatter() -> Formatter:
    formatter = Formatter(FormatterSyntax.INTEL)
    formatter.hex_prefix, formatter.hex_suffix = "0x", ""
    formatter.uppercase_hex = False
    formatter.small_hex_numbers_in_decimal = True
    formatter.space_after_operand_separator = True
    formatter.show_branch_size = False
    return formatter
