"""`ringfence disasm-block`: what the translator made of a guest's code, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfence.errors import UserError

if TYPE_CHECKING:
    from ringfence.api.translations import Translations
    from ringfence.inspection.symbols import SystemMap


def _address(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A guest address as the listings have it: hexadecimal, 0x or not."""
    try:
        return None if value is None else int(value, 16)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a hexadecimal address") from error


@click.command("disasm-block")
@click.argument("file", metavar="FILE")
@click.option("--at", metavar="RIP", callback=_address, help="Show the blocks with the instruction at RIP.")
@click.option("--symbols", metavar="System.map", help="The guest kernel's symbols (boot it with nokaslr).")
def command(file: str, at: int | None, symbols: str | None) -> None:
    """Show guest and host code of translated blocks.

    FILE is what 'ringfence run --translations FILE' wrote. Without --at, all blocks are
    listed, one line each.
    """
    from ringfence.api.translations import read_translations
    from ringfence.inspection.symbols import SystemMap

    found = read_translations(Path(file))
    system_map = SystemMap(Path(symbols)) if symbols else None
    for line in _list_all(found, system_map) if at is None else _list_at(found, at, system_map):
        click.echo(line)


def _list_all(found: Translations, symbols: SystemMap | None) -> Iterator[str]:
    for block in sorted(found.blocks, key=lambda block: block.rip):
        name = symbols.name(block.rip) if symbols else None
        sizes = f"{block.count:3} instructions {len(block.guest):4} -> {len(block.host):5} bytes"
        yield f"{block.rip:16x}  {sizes}  {name or ''}".rstrip()


def _list_at(found: Translations, at: int, symbols: SystemMap | None) -> Iterator[str]:
    from ringfence.inspection.listing import list_block
    from ringfence.inspection.symbols import Names

    blocks = [block for block in found.blocks if block.rip <= at < block.rip + len(block.guest)]
    if not blocks:
        raise UserError(f"no translated block has an instruction at {at:#x}")
    names = Names(found)
    for block in sorted(blocks, key=lambda block: block.rip != at):
        yield from list_block(block, names, symbols)
        yield ""
