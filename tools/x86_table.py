"""Reads tables/x86*.tbl: rows of instructions, as the head of tables/x86.tbl describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TABLES = Path(__file__).resolve().parent.parent / "tables"
MAPS = {"0f": 1, "0f38": 2, "0f3a": 3}
PREFIXES = {"np": 1, "66": 0x66, "f3": 0xF3, "f2": 0xF2}
CLASSES = ("innocuous", "privileged", "sensitive")


@dataclass(frozen=True)
class Row:
    """One instruction form. `place` is file:line, for messages."""

    place: str
    encoding: str
    mnemonic: str
    operands: tuple[str, ...]
    handler: str
    klass: str
    reads: str
    writes: str
    undefined: str
    mem: str
    feature: str
    attributes: frozenset[str]
    # parsed from the encoding
    prefix: int  # 0 any, 1 none allowed, else the byte
    map: int
    opcode: int
    has_low_register: bool
    digit: int  # -1 none
    has_modrm: bool
    form: int  # 0 any, 1 memory, 2 register
    exact: int  # a whole ModRM byte, -1 none
    vex: int  # 0 none, 1 VEX, 2 EVEX
    lengths: int  # allowed values of L or L'L, a bit each
    is_lig: bool  # a scalar: L is ignored
    wide: int  # 0 W is ignored or chooses the operand size, 1 W0, 2 W1

    @property
    def name(self) -> str:
        return f"{self.mnemonic} {','.join(self.operands)}".strip()


def parse_vex(token: str) -> dict[str, int | bool]:
    """``vex`` or ``evex`` with, after dots, the lengths that it has, ``lig``, and W where that counts."""
    kind, *parts = token.split(".")
    found: dict[str, int | bool] = {"vex": 1 + (kind == "evex"), "lengths": 7 if kind == "evex" else 3}
    for part in parts:
        if part == "lig":
            found["is_lig"] = True
        elif part in ("w0", "w1"):
            found["wide"] = 1 + int(part[1])
        elif re.fullmatch(r"l[012]+", part):
            found["lengths"] = sum(1 << int(length) for length in part[1:])
        else:
            raise ValueError(f"{part!r} in {token!r}")
    return found


def parse_encoding(text: str) -> dict[str, int | bool]:
    """The parts of an encoding such as ``66 0f38 dc /r`` or ``0f 01 =d0``."""
    found: dict[str, int | bool] = {
        "prefix": 0, "map": 0, "opcode": -1, "has_low_register": False, "digit": -1,
        "has_modrm": False, "form": 0, "exact": -1, "vex": 0, "lengths": 0, "is_lig": False, "wide": 0,
    }  # fmt: skip
    tokens = text.split()
    if tokens[0].startswith(("vex", "evex")):
        found |= parse_vex(tokens[0])
        tokens = tokens[1:]
    if tokens[0] in PREFIXES and len(tokens) > 1 and not tokens[1].startswith(("/", "=")):
        found["prefix"] = PREFIXES[tokens[0]]
        tokens = tokens[1:]
    if tokens[0] in MAPS and len(tokens) > 1 and re.fullmatch(r"[0-9a-f]{2}(\+r)?", tokens[1]):
        found["map"] = MAPS[tokens[0]]
        tokens = tokens[1:]
        if found["map"] == 1 and tokens[0] in ("38", "3a") and len(tokens) > 1 and tokens[1][0] not in "/=mr":
            found["map"] = MAPS["0f" + tokens[0]]
            tokens = tokens[1:]
    opcode = re.fullmatch(r"([0-9a-f]{2})(\+r)?", tokens[0])
    if not opcode:
        raise ValueError(f"no opcode in {text!r}")
    found["opcode"] = int(opcode.group(1), 16)
    found["has_low_register"] = bool(opcode.group(2))
    for token in tokens[1:]:
        if token == "/r":
            found["has_modrm"] = True
        elif re.fullmatch(r"/[0-7]", token):
            found["has_modrm"], found["digit"] = True, int(token[1])
        elif token in ("mem", "reg"):
            found["has_modrm"], found["form"] = True, 1 if token == "mem" else 2
        elif re.fullmatch(r"=[0-9a-f]{2}", token):
            found["has_modrm"], found["exact"] = True, int(token[1:], 16)
        else:
            raise ValueError(f"{token!r} in {text!r}")
    return found


def read_file(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        place = f"{path.name}:{number}"
        fields = re.split(r"\s{2,}", line.strip())
        if len(fields) != 11:
            raise SystemExit(f"{place}: {len(fields)} fields, not 11: {line}")
        encoding, mnemonic, operands, handler, klass, reads, writes, undefined, mem, feature, attributes = (
            "" if f == "-" else f for f in fields
        )
        if klass not in CLASSES:
            raise SystemExit(f"{place}: no class {klass!r}")
        try:
            parts = parse_encoding(encoding)
        except ValueError as error:
            raise SystemExit(f"{place}: {error}") from None
        rows.append(
            Row(
                place,
                encoding,
                mnemonic,
                tuple(filter(None, operands.split(","))),
                handler,
                klass,
                reads,
                writes,
                undefined,
                mem,
                feature,
                frozenset(filter(None, attributes.split(","))),
                **parts,  # type: ignore[arg-type]
            )
        )
    return rows


def read_rows() -> list[Row]:
    """All rows of tables/x86*.tbl, file by file."""
    return [row for path in sorted(TABLES.glob("x86*.tbl")) for row in read_file(path)]


def specificity(row: Row) -> tuple[int, ...]:
    """Sort key: of the rows that share an opcode, the most particular is tried first."""
    return (
        row.exact < 0,
        row.digit < 0,
        row.prefix in (0,),
        row.form == 0,
        not (row.attributes & {"o64", "i64"}),
        not row.feature,
    )
