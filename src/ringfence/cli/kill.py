"""`ringfence kill`: pull the plug."""

from __future__ import annotations

import signal

import click

from ringfence.cli.machines import for_each, many_names


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
def command(names: tuple[str, ...], number: int) -> int:
    """Pull the plug of machines."""

    def kill(name: str) -> None:
        from ringfence.host.vm import VM

        VM.find(name).kill(number)
        click.echo(name)

    return for_each(names, kill)
