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

FORMAT = "ringfence translations 1"


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
    routines: dict[int, str]
    callouts: dict[int, int]
    leaves: dict[int, int]
    canonical: int


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a translation calls out; ``index`` is the instruction's number."""

    kind: str
    address: int
    index: int
    rip: int
    retry: int
    resume: int


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
class Translation:
    """One translated block. ``registers`` are the two guest registers that live in memory, whose host
    registers are scratch; ``view`` is the TLB's; ``starts`` says where each instruction's code begins."""

    rip: int
    gpa: int
    bits: int
    view: int
    context: int
    count: int
    map: int
    entry: int
    body: int
    guest: bytes
    host: bytes
    starts: tuple[int, ...]
    sites: tuple[Site, ...]
    exits: tuple[Exit, ...]

    @property
    def end(self) -> int:
        return self.entry + len(self.host)

    @property
    def registers(self) -> tuple[int, int]:
        return self.map & 15, self.map >> 4


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
_numbers = [field.name for field in fields(Translation)[:-5]]
_block_row = attrgetter(*_numbers)


def _lines(found: Translations) -> Iterator[str]:
    yield json.dumps({"format": FORMAT} | asdict(found.layout))
    for block in found.blocks:
        sites = [_site_row(site) for site in block.sites]
        exits = [_exit_row(exit) for exit in block.exits]
        yield json.dumps(
            [*_block_row(block), block.guest.hex(), block.host.hex(), block.starts, sites, exits]
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
    for name in ("context", "records", "code", "tlb_entry", "jump_entry"):
        head[name] = tuple(head[name])
    return Translations(Layout(**head), tuple(_block(*row) for row in rows))


def _block(*row: Any) -> Translation:
    *numbers, guest, host, starts, sites, exits = row
    return Translation(
        **dict(zip(_numbers, numbers, strict=True)),
        guest=bytes.fromhex(guest),
        host=bytes.fromhex(host),
        starts=tuple(starts),
        sites=tuple(Site(*site) for site in sites),
        exits=tuple(Exit(*exit) for exit in exits),
    )
