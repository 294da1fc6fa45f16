"""`ringfence resume`: paused guests run on."""

from __future__ import annotations

import click

from ringfence.cli.machines import for_each, many_names


@click.command("resume")
@many_names
def command(names: tuple[str, ...]) -> int:
    """Let paused guests run on from where they were."""

    def act(name: str) -> None:
        from ringfence.host.vm import VM

        VM.find(name).resume()
        click.echo(name)

    return for_each(names, act)
