"""Cases of AVX and AVX-512: fields, memory operands, and the registers above XMM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from assemble import Choice, Memory, Variant
from assemble_vector import disp8_unit, has_opmask, memory_bytes
from case import DATA, DATA_BYTES
from float_state import XMM_OFFSET
from values import Source
from x86_table import Row

YMM, OPMASK, ZMM, HI16 = 0, 256, 320, 832
DrawMemory = Callable[[Source, int, list[int]], Memory]


def names(row: Row, *letters: str) -> bool:
    """Whether one of the operand codes has these letters."""
    return any(operand.startswith(letters) for operand in row.operands)


def draw_number(source: Source, row: Row, *vector: str) -> int:
    """A register where an operand with these letters is named: of 32 with EVEX."""
    return source.below(32 if row.vex == 2 and names(row, *vector) else 16)


def draw_fields(source: Source, row: Row, variant: Variant, choice: Choice) -> None:
    choice.reg = (
        source.below(8) if names(row, "KV") and not source.one_in(30) else draw_number(source, row, "V")
    )
    choice.rm = draw_number(source, row, "W", "U")
    if names(row, "H", "B", "KH"):
        choice.vvvv = source.below(8) if names(row, "KH") else draw_number(source, row, "H")
    if has_opmask(row) and (not source.one_in(3) or "kreq" in row.attributes):
        choice.opmask = source.below(7) + 1
        if source.one_in(2):
            # undefined where it can't be
            choice.zeroing = 1
        if "vsib" in row.attributes:
            choice.zeroing = int(source.one_in(30))
    elif row.vex == 2 and not has_opmask(row) and source.one_in(20):
        # undefined; so would be z by the manual, which AMD processors ignore here
        choice.opmask = 3
    choice.rounding = source.below(4)
    if not row.wide and not any(operand.endswith("y") for operand in row.operands) and source.one_in(3):
        choice.rex |= 8


def draw_target(source: Source, row: Row, variant: Variant) -> int:
    """As generate.draw_target, for operands of up to 64 bytes."""
    middle = DATA + 0x800 + 64 * source.below(4)
    if "vsib" in row.attributes or not source.one_in(4):
        return middle
    if "maskmov" in row.mnemonic and "dqu" not in row.mnemonic and source.one_in(2):
        return DATA + DATA_BYTES - source.below(33)
    kind = source.below(8)
    if kind < 4:
        return middle + 1 + source.below(63)
    if kind == 4:
        return DATA + 0x1000 - 1 - source.below(63)
    return DATA + DATA_BYTES - source.below(memory_bytes(row, variant) + 2)


def draw_memory(
    source: Source, row: Row, variant: Variant, draw: DrawMemory, target: int, regs: list[int]
) -> Memory:
    """Any memory operand, with EVEX's displacement of 8 bits; or one with a vector index."""
    if "vsib" in row.attributes:
        base = source.pick((3, 6, 5, 7, 8, 12, 13, 15, 0))
        regs[base] = target
        return Memory(base, draw_index(source, row), source.below(4), 0, 1)
    memory = draw(source, target, regs)
    unit = disp8_unit(row, variant)
    if memory.disp_bytes == 1 and memory.base is not None and unit > 1:
        regs[memory.base] = (regs[memory.base] - memory.disp * (unit - 1)) & (1 << 64) - 1
        memory = dataclasses.replace(memory, disp=memory.disp * unit, disp8_unit=unit)
    return memory


def draw_index(source: Source, row: Row) -> int:
    return source.below(32 if row.vex == 2 else 16)


def draw_high(source: Source) -> bytes:
    """Registers from a pool of values: all bits of an opmask, or some."""
    pool = [source.vector() for _ in range(16)]
    choices = source.random.choices
    masks = [source.random.getrandbits(64) >> source.random.choice((0, 0, 0, 56)) for _ in range(6)]
    opmasks = b"".join(mask.to_bytes(8, "little") for mask in [*masks, 0, (1 << 64) - 1])
    return b"".join(choices(pool, k=16)) + opmasks + b"".join(choices(pool, k=32 + 64))


def place_indices(source: Source, row: Row, choice: Choice, fx: bytes, high: bytes) -> tuple[bytes, bytes]:
    """Small numbers in the index register: all addresses are in the data, or just behind it."""
    assert choice.memory is not None and choice.memory.index is not None
    number = choice.memory.index
    size = 8 if row.opcode & 1 else 4
    reach = 0x700 >> choice.memory.scale
    values = [source.random.randrange(-reach, reach) for _ in range(64 // size)]
    if source.one_in(6):
        # past the end of the data: what comes before it is done, or not
        values[source.below(len(values))] = (DATA_BYTES - 0x800 + 64 >> choice.memory.scale) + 64
    data = b"".join(value.to_bytes(size, "little", signed=True) for value in values)
    return put_register(fx, high, number, data)


def put_register(fx: bytes, high: bytes, number: int, data: bytes) -> tuple[bytes, bytes]:
    """The two images with 64 bytes in a vector register."""
    image, upper = bytearray(fx), bytearray(high)
    if number < 16:
        image[XMM_OFFSET + 16 * number : XMM_OFFSET + 16 * number + 16] = data[:16]
        upper[YMM + 16 * number : YMM + 16 * number + 16] = data[16:32]
        upper[ZMM + 32 * number : ZMM + 32 * number + 32] = data[32:]
    else:
        upper[HI16 + 64 * (number - 16) : HI16 + 64 * (number - 16) + 64] = data
    return bytes(image), bytes(upper)


def high_parts(high: bytes) -> dict[str, str]:
    """The registers by name."""
    found = {}
    for n in range(16):
        found[f"ymm{n} high"] = high[YMM + 16 * n : YMM + 16 * n + 16].hex()
        found[f"zmm{n} high"] = high[ZMM + 32 * n : ZMM + 32 * n + 32].hex()
        found[f"zmm{16 + n}"] = high[HI16 + 64 * n : HI16 + 64 * n + 64].hex()
    for n in range(8):
        found[f"k{n}"] = high[OPMASK + 8 * n : OPMASK + 8 * n + 8][::-1].hex()
    return found
