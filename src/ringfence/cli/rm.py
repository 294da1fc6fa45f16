"""`ringfence rm`: delete what is left of machines."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, change_each, many_names


@click.command("rm")
@click.option("-f", "--force", is_flag=True, help="Kill one that still runs.")
@many_names
@as_json
def command(names: tuple[str, ...], force: bool, is_json: bool) -> int:
    """Delete machines: their logs, their configuration, their names. Disks stay."""
    return change_each(names, is_json, lambda vm: vm.remove(force))
