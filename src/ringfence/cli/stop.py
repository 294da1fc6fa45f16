"""`ringfence stop`: an orderly shutdown, and a disorderly one where that takes too long."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, change_each, many_names


@click.command("stop")
@click.option(
    "-t", "--time", "grace", metavar="SECONDS", type=click.FloatRange(0), default=10, show_default=True,
    help="How long a guest may take before its plug is pulled.",
)  # fmt: skip
@many_names
@as_json
def command(names: tuple[str, ...], grace: float, is_json: bool) -> int:
    """Ask guests to shut down (ACPI power button, agent); pull the plug of one that does not in time."""
    return change_each(names, is_json, lambda vm: vm.stop(grace))
