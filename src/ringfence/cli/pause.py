"""`ringfence pause`: guests and their time stand still."""

from __future__ import annotations

import click

from ringfence.cli.machines import for_each, many_names


@click.command("pause")
@many_names
def command(names: tuple[str, ...]) -> int:
    """Stop guests and their time, until resume."""

    def act(name: str) -> None:
        from ringfence.host.vm import VM

        VM.find(name).pause()
        click.echo(name)

    return for_each(names, act)
