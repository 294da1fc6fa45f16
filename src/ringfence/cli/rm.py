"""`ringfence rm`: delete what is left of machines."""

from __future__ import annotations

import click

from ringfence.cli.machines import for_each, many_names


@click.command("rm")
@click.option("-f", "--force", is_flag=True, help="Kill one that still runs.")
@many_names
def command(names: tuple[str, ...], force: bool) -> int:
    """Delete machines: their logs, their configuration, their names. Disks stay."""

    def remove(name: str) -> None:
        from ringfence.host.vm import VM

        VM.find(name).remove(force)
        click.echo(name)

    return for_each(names, remove)
