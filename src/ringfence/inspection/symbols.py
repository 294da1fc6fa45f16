"""Names for what translated code mentions by number, and for guest addresses by a System.map."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from ringfence.api.translations import Layout, Translation, Translations
from ringfence.errors import UserError

#: fields of a TLB entry and of a jump-cache entry, in the order of the layout
TLB_FIELDS = ("tag", "addend", "host_page")
JUMP_FIELDS = ("tag", "host")
SLOT_FIELDS = (*TLB_FIELDS, "is_listed", "credit")


class Names:
    """Of the context's parts, of records and of places in the code cache."""

    def __init__(self, found: Translations) -> None:
        self.layout = found.layout
        self._entries = {block.entry: block for block in found.blocks}
        self._bodies = {block.body: block for block in found.blocks}
        _, *offsets = found.layout.slot
        self._slots = {
            site.slot + offset: f"slot_{number}.{name}"
            for block in found.blocks
            for number, site in enumerate(block.sites)
            if site.slot
            for offset, name in zip(offsets, SLOT_FIELDS, strict=True)
        }

    def address(self, address: int, is_indexed: bool) -> str | None:
        """Of a place in the vCPU's context or in a slot; with an index register, of an array."""
        layout = self.layout
        for array in layout.tlbs:
            size, *offsets = layout.tlb_entry
            name = _member(address - array.address, layout.tlb_entries, size, offsets, TLB_FIELDS, is_indexed)
            if name:
                return array.name + name
        size, *offsets = layout.jump_entry
        name = _member(address - layout.jumps, layout.jump_entries, size, offsets, JUMP_FIELDS, is_indexed)
        if name:
            return "jumps" + name
        return self._slots.get(address) or _field(layout, address)

    def record(self, block: Translation, address: int) -> str | None:
        """Of a site or an exit of this block."""
        for number, site in enumerate(block.sites):
            if site.address == address:
                return f"site_{number}_{site.kind}"
        for number, exit in enumerate(block.exits):
            if exit.address == address:
                return f"exit_{number}_to_{exit.rip:x}"
        return None

    def code(self, position: int) -> str | None:
        """Of a routine or of another translation's way in."""
        if position in self.layout.routines:
            return self.layout.routines[position]
        if position in self._entries:
            return f"block_{self._entries[position].rip:x}"
        if position in self._bodies:
            return f"block_{self._bodies[position].rip:x}.body"
        return None


def _member(
    at: int, entries: int, size: int, offsets: list[int], names: tuple[str, ...], is_indexed: bool
) -> str | None:
    if not 0 <= at < entries * size or at % size not in offsets:
        return None
    name = names[offsets.index(at % size)]
    return f".{name}" if is_indexed and at < size else f"[{at // size}].{name}"


def _field(layout: Layout, address: int) -> str | None:
    for field in layout.fields:
        at = address - field.address
        if 0 <= at < field.size:
            return f"cpu.{field.name}+{at}" if at else f"cpu.{field.name}"
    start, end = layout.context
    return f"cpu+{address - start:#x}" if start <= address < end else None


class SystemMap:
    """A Linux kernel's symbols, as its System.map lists them."""

    def __init__(self, path: Path) -> None:
        try:
            rows = [line.split() for line in path.read_text().splitlines()]
            symbols = sorted((int(row[0], 16), row[2]) for row in rows if row[1].upper() in ("T", "W"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}: not a System.map: lines of an address, a letter and a name") from error
        if not symbols:
            raise UserError(f"{path}: no functions in it: not a System.map")
        self._addresses = [address for address, _ in symbols]
        self._names = [name for _, name in symbols]

    def name(self, address: int) -> str | None:
        """``symbol+0x12``; None before the first."""
        at = bisect_right(self._addresses, address) - 1
        if at < 0:
            return None
        offset = address - self._addresses[at]
        return f"{self._names[at]}+{offset:#x}" if offset else self._names[at]
