"""VEX and EVEX: SDM vol. 2, 2.3.5 and 2.7. What `assemble` needs for rows of tables/x86_avx*.tbl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86_table import Row

if TYPE_CHECKING:
    from assemble import Choice, Variant

FIXED = {"b": 1, "w": 2, "d": 4, "ss": 4, "q": 8, "sd": 8, "dq": 16, "qq": 32}
PARTS = {"x": 1, "ps": 1, "pd": 1, "x2": 2, "ph": 2, "x4": 4, "x8": 8}
PP = {0: 0, 1: 0, 0x66: 1, 0xF3: 2, 0xF2: 3}


def is_vector(row: Row) -> bool:
    return bool(row.attributes & {"avx", "avx512"})


def lengths(row: Row) -> list[int]:
    """Values of L'L that make a difference."""
    return [0] if row.is_lig else [n for n in range(3) if row.lengths >> n & 1]


def uses_b(row: Row, is_memory: bool) -> bool:
    """Whether EVEX.b can be set."""
    names = {"b2", "b4", "b8"} if is_memory else {"er", "sae"}
    return bool(row.attributes & names)


def memory_code(row: Row) -> str:
    """The size of the memory operand, as its operand code has it."""
    for operand in row.operands:
        if operand[0] in "WEM" or operand.startswith("KW"):
            return operand[2:] if operand.startswith("KW") else operand[1:]
    return ""


def memory_bytes(row: Row, variant: Variant) -> int:
    code = memory_code(row)
    if code in PARTS:
        return (16 << variant.length) // PARTS[code]
    return variant.width // 8 if code == "y" else FIXED.get(code, 0)


def mask_element(row: Row) -> int:
    """Bytes that a bit of the opmask stands for; 0 without opmask or for scalars."""
    return next((int(a[1]) for a in row.attributes if a in ("k1", "k2", "k4", "k8")), 0)


def has_opmask(row: Row) -> bool:
    return bool(row.attributes & {"k1", "k2", "k4", "k8", "ks"})


def disp8_unit(row: Row, variant: Variant) -> int:
    """SDM vol. 2, 2.7.5."""
    if row.vex != 2:
        return 1
    if variant.is_broadcast:
        return next(int(a[1]) for a in row.attributes if a in ("b2", "b4", "b8"))
    return mask_element(row) if "tuple1" in row.attributes else memory_bytes(row, variant)


def wide_bit(row: Row, variant: Variant, choice: Choice) -> int:
    if row.wide:
        return row.wide - 1
    return int(variant.width == 64 or bool(choice.rex & 8))


def prefix(row: Row, variant: Variant, choice: Choice, bits: int) -> bytes:
    """VEX of three bytes, or EVEX. `bits` is R X B as in REX."""
    wide = wide_bit(row, variant, choice)
    second = wide << 7 | (choice.vvvv & 15 ^ 15) << 3 | PP[row.prefix]
    low = (bits & 7 ^ 7) << 5
    if row.vex == 1:
        return bytes([0xC4, low | row.map, second | variant.length << 2])
    if choice.memory is None:
        # X is bit 4 of ModRM.rm
        low = low & ~0x40 | (0 if choice.rm & 16 else 0x40)
    first = low | (0 if choice.reg & 16 else 0x10) | row.map
    high = choice.vvvv >> 4
    if choice.memory is not None and "vsib" in row.attributes:
        high = (choice.memory.index or 0) >> 4
    length = choice.rounding if variant.is_broadcast and choice.memory is None else variant.length
    third = choice.zeroing << 7 | length << 5 | variant.is_broadcast << 4 | (not high) << 3 | choice.opmask
    return bytes([0x62, first, second | 4, third])
