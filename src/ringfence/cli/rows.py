"""Which row of the instruction table a piece of machine code is: Intel SDM vol. 2, chapter 2.

A lookup for people, over the same table that the compiled decoder is generated from. Not a decoder:
the caller knows already that the code is one whole instruction.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from ringfence.core.x86._gen_rows import ROWS, Row

LEGACY_PREFIXES = frozenset(b"\x66\x67\xf0\xf2\xf3\x26\x2e\x36\x3e\x64\x65")
#: Mandatory prefixes as the table writes them; ``np``: none of these.
MANDATORY = {0x66: "66", 0xF2: "f2", 0xF3: "f3"}
VEX_PREFIXES = ("np", "66", "f3", "f2")
MAPS = ("", "0f", "0f38", "0f3a")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A row's encoding, taken apart."""

    row: Row
    prefix: str
    digit: int | None
    form: str
    exact: int | None
    lengths: str  # values of VEX.L or EVEX.L'L; empty: any
    wide: str  # of W

    @property
    def rank(self) -> int:
        """How particular it is: of several that match, the most particular is meant."""
        return (
            8 * (self.exact is not None)
            + 4 * (self.digit is not None)
            + 2 * bool(self.prefix)
            + bool(self.form)
        )

    def matches_vector(self, length: int, wide: int) -> bool:
        """Whether a VEX or EVEX prefix with this L and W is meant."""
        return (not self.lengths or str(length) in self.lengths) and self.wide in ("", str(wide))

    def matches(self, prefixes: set[str], modrm: int | None, bits: int) -> bool:
        if ("i64" if bits == 64 else "o64") in self.row.attributes:
            return False
        if self.prefix and not (self.prefix in prefixes or (self.prefix == "np" and not prefixes)):
            return False
        if modrm is None:
            return self.digit is None and self.exact is None and not self.form
        return (
            (self.exact is None or modrm == self.exact)
            and (self.digit is None or modrm >> 3 & 7 == self.digit)
            and (not self.form or (self.form == "reg") == (modrm >> 6 == 3))
        )


@cache
def _patterns() -> dict[tuple[str, str, int], list[Pattern]]:
    """By (vex, evex or nothing; opcode map; opcode), the most particular first."""
    table: dict[tuple[str, str, int], list[Pattern]] = defaultdict(list)
    for row in ROWS:
        match = re.fullmatch(
            r"((?P<vex>e?vex)(?P<parts>\S*) )?(?P<prefix>(np|66|f2|f3) (?=\S))?"
            r"(?P<map>(0f38|0f3a|0f) (?=[0-9a-f]{2}))?"
            r"(?P<opcode>[0-9a-f]{2})(?P<low>\+r)?(?P<rest>( .*)?)",
            row.encoding,
        )
        assert match is not None, row.encoding
        rest, parts = match["rest"], match["parts"] or ""
        digit = re.search(r"/([0-7])", rest)
        form = re.search(r"\b(mem|reg)\b", rest)
        exact = re.search(r"=([0-9a-f]{2})", rest)
        pattern = Pattern(
            row,
            (match["prefix"] or "").strip(),
            int(digit[1]) if digit else None,
            form[1] if form else "",
            int(exact[1], 16) if exact else None,
            "".join(re.findall(r"\.l([012]+)", parts)),
            "".join(re.findall(r"\.w([01])", parts)),
        )
        for low in range(8 if match["low"] else 1):
            key = (match["vex"] or "", (match["map"] or "").strip(), int(match["opcode"], 16) + low)
            table[key].append(pattern)
    for patterns in table.values():
        patterns.sort(key=lambda pattern: -pattern.rank)
    return table


def find_row(code: bytes, bits: int) -> Row | None:
    """The row of the instruction that ``code`` is, in code of this width; None: not in the table."""
    at = 0
    prefixes: set[str] = set()
    while code[at] in LEGACY_PREFIXES:
        if code[at] in MANDATORY:
            prefixes.add(MANDATORY[code[at]])
        at += 1
    kind, length, wide = "", 0, 0
    if code[at] in (0xC4, 0xC5, 0x62) and (bits == 64 or code[at + 1] >= 0xC0):
        kind, size = ("evex", 4) if code[at] == 0x62 else ("vex", 3 if code[at] == 0xC4 else 2)
        map_number = 1 if size == 2 else code[at + 1] & (7 if size == 4 else 0x1F)
        if map_number >= len(MAPS):
            return None
        opcode_map = MAPS[map_number]
        last = code[at + (1 if size == 2 else 2)]
        prefixes = {VEX_PREFIXES[last & 3]}
        wide = last >> 7 if size > 2 else 0
        length = code[at + 3] >> 5 & 3 if size == 4 else last >> 2 & 1
        at += size
    else:
        if bits == 64 and code[at] & 0xF0 == 0x40:
            at += 1
        opcode_map = ""
        if code[at] == 0x0F:
            at += 1
            opcode_map = {0x38: "0f38", 0x3A: "0f3a"}.get(code[at], "0f")
            at += opcode_map != "0f"
    modrm = code[at + 1] if at + 1 < len(code) else None
    if kind == "evex" and modrm is not None and modrm >= 0xC0 and code[at - 1] & 0x10:
        length = 2  # L'L is the rounding
    for pattern in _patterns().get((kind, opcode_map, code[at]), ()):
        if pattern.matches(prefixes, modrm, bits) and pattern.matches_vector(length, wide):
            return pattern.row
    return None
