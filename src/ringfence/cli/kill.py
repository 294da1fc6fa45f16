"""`ringfence kill`: pull the plug."""

from __future__ import annotations

import signal

import click

from ringfence.cli.machines import as_json, change_each, many_names


def _signal(ctx: click.Context, parameter: click.Parameter, value: str) -> int:
    """KILL, SIGKILL or 9."""
    name = value.upper().removeprefix("SIG")
    try:
        return int(signal.Signals(int(name)) if name.isdigit() else signal.Signals[f"SIG{name}"])
    except (ValueError, KeyError) as error:
        raise click.BadParameter(f"{value!r} is not a signal") from error


@click.command("kill")
@click.option(
    "-s", "--signal", "number", metavar="SIGNAL", default="KILL", show_default=True, callback=_signal,
    help="What the exit status tells: 128 + its number.",
)  # fmt: skip
@many_names
@as_json
def command(names: tuple[str, ...], number: int, is_json: bool) -> int:
    """Pull the plug of machines."""
    return change_each(names, is_json, lambda vm: vm.kill(number))
