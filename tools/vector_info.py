"""What the decoder must know of a VEX or EVEX row: the last fields of `EntryInfo`.

The operand codes say where an operand is named and what it is; `core/x86/decode_table.pxd` has the same
numbers.
"""

from __future__ import annotations

import struct

from x86_table import Row

#: operand code -> field that names it: ModRM.reg, vvvv, ModRM.rm, bits 7 to 4 of the immediate; and its kind
FIELDS = {
    "V": (0, 1), "KV": (0, 2), "G": (0, 3),
    "H": (1, 1), "KH": (1, 2), "B": (1, 3),
    "W": (2, 1), "U": (2, 1), "KW": (2, 2), "KU": (2, 2), "E": (2, 3), "R": (2, 3), "M": (2, 0),
    "L": (3, 1),
}  # fmt: skip
NO_TARGET = 3
#: log2 of the bytes of a memory operand; with PART a power of two of which the vector length is divided by
PART, BY_W = 0x10, 0x20
SIZES = {
    "b": 0, "w": 1, "d": 2, "ss": 2, "q": 3, "sd": 3, "dq": 4, "qq": 5, "y": BY_W,
    "x": PART, "ps": PART, "pd": PART, "x2": PART | 1, "ph": PART | 1, "x4": PART | 2, "x8": PART | 3,
}  # fmt: skip
FLOATS = {"ps": 1, "pd": 2, "ss": 3, "sd": 4, "ph": 5}
LOG2 = {"1": 0, "2": 1, "4": 2, "8": 3}
SCALAR = 0xFF
FLAGS = ["avx512", "lig", "er", "sae", "vsib", "align", "nf", "fold", "tuple1", "kreq", "wig32"]
#: attributes that name the feature which the 256-bit form of a row needs as well
FEATURES_256 = {"avx2", "vaes", "vpclmulqdq"}
NO_FEATURE = 0xFFFF


def is_vector(row: Row) -> bool:
    return bool(row.attributes & {"avx", "avx512"})


def names_vvvv(row: Row) -> bool:
    """Whether an operand is named by VEX.vvvv, which otherwise must be 1111b."""
    return any(operand[0] in "HB" or operand == "KH" for operand in row.operands)


def code_of(operand: str) -> tuple[str, str]:
    """The letter (two for opmasks) and the size of an operand code."""
    letters = 2 if operand[0] == "K" else 1
    return operand[:letters], operand[letters:]


def element(row: Row) -> int:
    """Of the opmask: log2 of the bytes of VL that a bit stands for, plus 1."""
    if "ks" in row.attributes:
        return SCALAR
    return next((LOG2[a[1]] + 1 for a in row.attributes if a[0] == "k" and a[1:] in LOG2), 0)


def vector_info(row: Row, features: dict[str, int]) -> bytes:
    kinds = memory = 0
    target = NO_TARGET
    if is_vector(row):
        for place, operand in enumerate(row.operands):
            letter, size = code_of(operand)
            if letter not in FIELDS:
                continue
            field, kind = FIELDS[letter]
            kinds |= kind << 2 * field
            if letter in ("W", "M", "E", "KW") and size:
                memory = SIZES[size]
            if place == 0 and not row.handler.endswith(".flags"):
                target = field
    broadcast = next((LOG2[a[1]] + 1 for a in row.attributes if a[0] == "b" and a[1:] in LOG2), 0)
    result = FLOATS.get(code_of(row.operands[0])[1], 0) if row.operands else 0
    flags = sum(1 << n for n, name in enumerate(FLAGS) if name in row.attributes)
    flags |= (1 << FLAGS.index("lig")) if row.is_lig else 0
    second = next((features[a] for a in sorted(row.attributes & FEATURES_256)), NO_FEATURE)
    return struct.pack(
        "<8BHH", row.lengths, row.wide, kinds, target, memory, broadcast, element(row), result, flags, second
    )
