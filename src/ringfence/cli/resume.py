"""`ringfence resume`: paused guests run on."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, change_each, many_names


@click.command("resume")
@many_names
@as_json
def command(names: tuple[str, ...], is_json: bool) -> int:
    """Let paused guests run on from where they were."""
    return change_each(names, is_json, lambda vm: vm.resume())
