"""`ringfence inspect`: all that can be said of a machine, as JSON."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any

import click

from ringfence.cli.machines import many_names, print_json


@click.command("inspect")
@many_names
@click.option("--json", "is_json", is_flag=True, expose_value=False, help="Print JSON, as it always does.")
def command(names: tuple[str, ...]) -> None:
    """Show configuration, state, report and jail of machines."""
    print_json([_describe(name) for name in names], is_long=True)


def _describe(name: str) -> dict[str, Any]:
    from ringfence.cli.ps import describe
    from ringfence.errors import RingfenceError
    from ringfence.host.registry import find
    from ringfence.host.vm import VM

    record = find(name)
    found = describe(record) | {
        "directory": str(record.place.directory),
        "socket": str(record.place.socket),
        "host": record.spec.host if record.spec else "",
        "config": record.spec.machine if record.spec else {},
    }
    if record.is_alive:
        with contextlib.suppress(RingfenceError, TimeoutError):
            found |= asdict(VM(name).inspect())
            for vcpu in found["report"]["vcpus"]:
                del vcpu["rows"]  # counters by instruction: `run --report` has them, for `explain`
    return found
