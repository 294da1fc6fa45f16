"""`ringfence stop`: an orderly shutdown, and a disorderly one where that takes too long."""

from __future__ import annotations

import click

from ringfence.cli.machines import for_each, many_names


@click.command("stop")
@click.option(
    "-t", "--time", "grace", metavar="SECONDS", type=click.FloatRange(0), default=10, show_default=True,
    help="How long a guest may take before its plug is pulled.",
)  # fmt: skip
@many_names
def command(names: tuple[str, ...], grace: float) -> int:
    """Ask guests to shut down (ACPI power button, agent); pull the plug of one that does not in time."""

    def stop(name: str) -> None:
        from ringfence.host.vm import VM

        VM.find(name).stop(grace)
        click.echo(name)

    return for_each(names, stop)
