"""A page walk written from the manual and for nothing but tests: SDM vol. 3, 4.3 to 4.8.

`expect` says what an access through given entries has to do. It shares no code and no structure with
the processor's walk; where they differ, one of them is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

P, W, U, A, D, PS = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7
NX = 1 << 63
PHYSICAL_BITS = 40
#: error code: SDM vol. 3, 4.7
PRESENT, WRITE, USER, RESERVED, FETCH = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Access:
    """What is done: ``kind`` is r, w or x."""

    kind: str
    is_user: bool
    with_ac: bool = False


@dataclass(frozen=True)
class Control:
    """The bits of CR0, CR4 and EFER that matter."""

    wp: bool
    smep: bool
    smap: bool
    nxe: bool
    pse: bool = True


@dataclass(frozen=True)
class Level:
    """One level of tables: where a leaf may be, and how far a leaf's page reaches."""

    shift: int
    may_be_leaf: bool
    ps_is_reserved: bool = False


#: from the top; PAE without its directory pointers, which are registers
LEVELS = {
    "32-bit": (Level(22, True), Level(12, True)),
    "pae": (Level(21, True), Level(12, True)),
    "4-level": (Level(39, False, True), Level(30, True), Level(21, True), Level(12, True)),
}


def bits(low: int, high: int) -> int:
    """A mask of bits low..high."""
    return (1 << high + 1) - (1 << low)


def reserved_bits(mode: str, level: Level, is_leaf: bool, nxe: bool) -> int:
    """Bits that must be 0 in a present entry: SDM vol. 3, tables 4-4 to 4-20."""
    if mode == "32-bit":
        # PSE-36: with 40 physical bits, 20..13 of a 4 MiB page hold 39..32
        return 1 << 21 if is_leaf and level.shift == 22 else 0
    mask = 0 if nxe else NX
    mask |= bits(PHYSICAL_BITS, 62 if mode == "pae" else 51)
    if is_leaf and level.shift > 12:
        mask |= bits(13, level.shift - 1)
    if level.ps_is_reserved:
        mask |= PS
    return mask


def error_code(mode: str, control: Control, access: Access, flags: int) -> int:
    code = flags
    code |= WRITE if access.kind == "w" else 0
    code |= USER if access.is_user else 0
    has_nx = control.nxe and mode != "32-bit"
    if access.kind == "x" and (has_nx or control.smep):
        code |= FETCH
    return code


def is_allowed(control: Control, access: Access, path: list[int], has_nx: bool) -> bool:
    """SDM vol. 3, 4.6.1: the address is the user's if every entry says so."""
    is_user_page = all(entry & U for entry in path)
    is_writable = all(entry & W for entry in path)
    no_execute = has_nx and any(entry & NX for entry in path)
    if access.is_user:
        if not is_user_page:
            return False
        return {"r": True, "w": is_writable, "x": not no_execute}[access.kind]
    if access.kind == "x":
        return not no_execute and not (is_user_page and control.smep)
    if is_user_page and control.smap and not access.with_ac:
        return False
    return access.kind == "r" or is_writable or not control.wp


def expect(
    mode: str, control: Control, access: Access, entries: list[int]
) -> tuple[int | None, int, list[int]]:
    """The error code of the page fault or None, the level of the leaf, and the entries afterwards."""
    path: list[int] = []
    has_nx = control.nxe and mode != "32-bit"
    for number, (level, entry) in enumerate(zip(LEVELS[mode], entries, strict=True)):
        if not entry & P:
            return error_code(mode, control, access, 0), number, entries
        has_large = mode != "32-bit" or control.pse
        is_leaf = level.shift == 12 or bool(entry & PS and level.may_be_leaf and has_large)
        path.append(entry)
        if entry & reserved_bits(mode, level, is_leaf, control.nxe):
            return error_code(mode, control, access, PRESENT | RESERVED), number, entries
        if is_leaf:
            break
    if not is_allowed(control, access, path, has_nx):
        return error_code(mode, control, access, PRESENT), number, entries
    after = [entry | A for entry in path]
    if access.kind == "w":
        after[-1] |= D
    return None, number, after + entries[len(path) :]
