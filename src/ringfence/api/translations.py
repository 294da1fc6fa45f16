"""Translated code as plain data: what a vCPU's translator has made, for tools that look at it.

Positions of code are offsets in the code cache; addresses are the host's. A file holds one JSON object a
line: the layout first, then one translation each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from ringfence.errors import UserError

FORMAT = "ringfence translations 2"


@dataclass(frozen=True, slots=True)
class Field:
    """A part of the vCPU's context that translated code names."""

    name: str
    address: int
    size: int
    is_written: bool


@dataclass(frozen=True, slots=True)
class TlbArray:
    """One direct-mapped array of the software TLB."""

    name: str
    address: int
    view: int
    is_write: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are that translated code may name.

    Attributes:
        context: first address and end of the vCPU's struct.
        records: of what call-outs and exits are described in.
        code: of the code cache where it runs; code offset 0 is its start.
        tlb_entry: bytes of a TLB entry, offsets in it of tag, addend and host page.
        jump_entry: bytes of a jump-cache entry, offsets in it of tag and host address.
        slot: bytes of a slot, offsets of tag, addend, host page, is_listed and credit.
        slots: address of the list of those in use, which has ``slot_limit`` places of four bytes.
        routines: what every translation shares, by code offset.
        callouts: register map -> code offset of its call-out.
        leaves: ... of its way out.
        canonical: the register map in which every entry is.
    """

    context: tuple[int, int]
    records: tuple[int, int]
    code: tuple[int, int]
    fields: tuple[Field, ...]
    tlbs: tuple[TlbArray, ...]
    tlb_entries: int
    tlb_entry: tuple[int, int, int, int]
    jumps: int
    jump_entries: int
    jump_entry: tuple[int, int, int]
    slot: tuple[int, int, int, int, int, int]
    slots: int
    slot_limit: int
    routines: dict[int, str]
    callouts: dict[int, int]
    leaves: dict[int, int]
    canonical: int


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a translation calls out.

    Attributes:
        index: the instruction's number.
        retry: position of the probe that is tried again, 0 for none.
        resume: where it goes on after the instruction was interpreted, if ``may_resume``.
        slot: address of the probe's slot, 0 for none.
        direct: position of the probe that does without.
    """

    kind: str
    address: int
    index: int
    rip: int
    retry: int
    resume: int
    may_resume: bool
    is_write: bool
    slot: int
    direct: int


@dataclass(frozen=True, slots=True)
class Exit:
    """A direct branch out. ``field`` is the position of the rel32 that linking changes; ``target`` the
    entry of the translation that it is linked to, 0 for none."""

    address: int
    rip: int
    charge: int
    field: int
    stub: int
    convert: int
    convert_field: int
    target: int


@dataclass(frozen=True, slots=True)
class Patch:
    """Code that a call-out of a translation was replaced with, away from the rest of its code."""

    position: int
    host: bytes

    @property
    def end(self) -> int:
        return self.position + len(self.host)


@dataclass(frozen=True, slots=True)
class Translation:
    """One translated block.

    Attributes:
        view: the TLB's.
        map: bit n: guest register 8 + n lives in memory, and the host's is free.
        is_hot: its probes have slots.
        is_twin: each access is probed; entered in the middle, by way of another translation's call-outs.
        entry, body: position where it is entered in the canonical map, and in its own.
        starts: position of each instruction's code.
        sites, exits: those of its patches too.
    """

    rip: int
    gpa: int
    bits: int
    view: int
    context: int
    count: int
    map: int
    is_hot: bool
    is_twin: bool
    entry: int
    body: int
    guest: bytes
    host: bytes
    starts: tuple[int, ...]
    sites: tuple[Site, ...]
    exits: tuple[Exit, ...]
    patches: tuple[Patch, ...]

    @property
    def end(self) -> int:
        return self.entry + len(self.host)

    @property
    def registers(self) -> tuple[int, ...]:
        """Host registers that are not the guest's: two for scratch, then those that may hold addends."""
        return tuple(8 + n for n in range(8) if self.map >> n & 1)

    @property
    def ways_in(self) -> tuple[int, ...]:
        """Positions where it is entered besides ``entry`` and ``body``."""
        return self.starts if self.is_twin else ()


@dataclass(frozen=True, slots=True)
class Translations:
    """All that were alive at one moment, by position."""

    layout: Layout
    blocks: tuple[Translation, ...]


def write_translations(found: Translations, path: Path) -> None:
    """To a file; OSError where it can't be written."""
    with path.open("w") as file:
        for line in _lines(found):
            file.write(line + "\n")


def read_translations(path: Path) -> Translations:
    """From a file.

    Raises:
        UserError: there is none, or it is something else.
    """
    try:
        with path.open() as file:
            return _parse(file)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"{path}: not a file that --translations wrote") from error


_site_row = attrgetter(*(field.name for field in fields(Site)))
_exit_row = attrgetter(*(field.name for field in fields(Exit)))
_numbers = [field.name for field in fields(Translation)[:-6]]
_block_row = attrgetter(*_numbers)


def _lines(found: Translations) -> Iterator[str]:
    yield json.dumps({"format": FORMAT} | asdict(found.layout))
    for block in found.blocks:
        sites = [_site_row(site) for site in block.sites]
        exits = [_exit_row(exit) for exit in block.exits]
        patches = [(patch.position, patch.host.hex()) for patch in block.patches]
        yield json.dumps(
            [*_block_row(block), block.guest.hex(), block.host.hex(), block.starts, sites, exits, patches]
        )


def _parse(lines: Iterable[str]) -> Translations:
    rows = (json.loads(line) for line in lines)
    head: dict[str, Any] = next(iter(rows))
    if head.pop("format") != FORMAT:
        raise ValueError("of another version")
    for name in ("routines", "callouts", "leaves"):
        head[name] = {int(key): value for key, value in head[name].items()}
    head["fields"] = tuple(Field(**field) for field in head["fields"])
    head["tlbs"] = tuple(TlbArray(**array) for array in head["tlbs"])
    for name in ("context", "records", "code", "tlb_entry", "jump_entry", "slot"):
        head[name] = tuple(head[name])
    return Translations(Layout(**head), tuple(_block(*row) for row in rows))


def _block(*row: Any) -> Translation:
    *numbers, guest, host, starts, sites, exits, patches = row
    return Translation(
        **dict(zip(_numbers, numbers, strict=True)),
        guest=bytes.fromhex(guest),
        host=bytes.fromhex(host),
        starts=tuple(starts),
        sites=tuple(Site(*site) for site in sites),
        exits=tuple(Exit(*exit) for exit in exits),
        patches=tuple(Patch(position, bytes.fromhex(code)) for position, code in patches),
    )
