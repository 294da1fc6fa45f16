"""`ringfence pause`: guests and their time stand still."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, change_each, many_names


@click.command("pause")
@many_names
@as_json
def command(names: tuple[str, ...], is_json: bool) -> int:
    """Stop guests and their time, until resume."""
    return change_each(names, is_json, lambda vm: vm.pause())
