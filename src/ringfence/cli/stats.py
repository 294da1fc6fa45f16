"""`ringfence stats`: what machines use of this host, once a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ringfence.cli.machines import MachineName, as_json, print_json, print_table, size

if TYPE_CHECKING:
    from ringfence.api.messages import Usage

HEAD = ("NAME", "CPU %", "GUEST CPU %", "MEMORY", "GUEST MEMORY", "INSTRUCTIONS/S", "UPTIME")
INTERVAL_SECONDS = 1.0


@click.command("stats")
@click.argument("names", metavar="[NAME]...", type=MachineName(), nargs=-1)
@click.option("--no-stream", is_flag=True, help="Once, over the machines' whole lives.")
@as_json
def command(names: tuple[str, ...], no_stream: bool, is_json: bool) -> None:
    """Show CPU and memory of machines, all that run unless they are named."""
    if is_json:
        print_json([{"name": name, **_plain(usage)} for name, usage in _measure(names)])
    elif no_stream or not sys.stdout.isatty():
        print_table(HEAD, [row(name, usage) for name, usage in _measure(names)])
    else:
        _stream(names)


def _measure(names: Sequence[str]) -> Iterator[tuple[str, Usage]]:
    from ringfence.errors import RingfenceError
    from ringfence.host.registry import list_machines
    from ringfence.host.vm import VM

    if names:
        yield from ((name, VM.find(name).stats()) for name in names)
        return
    for record in list_machines():
        if record.state in ("running", "paused"):
            try:
                yield record.name, VM(record.name).stats()
            except (RingfenceError, TimeoutError):
                continue  # it ended in between


def row(name: str, usage: Usage, before: Usage | None = None) -> tuple[str, ...]:
    """A line of the table; since ``before``, or since the machine was started."""

    def since(field: str) -> int:
        return int(getattr(usage, field)) - (int(getattr(before, field)) if before else 0)

    elapsed = max(since("uptime_ns"), 1)
    return (
        name,
        f"{100 * since('cpu_ns') / elapsed:.1f}",
        f"{100 * since('guest_ns') / elapsed:.1f}",
        size(usage.memory_bytes),
        size(usage.guest_memory_bytes),
        f"{since('instructions') * 1e3 / elapsed:.1f} M",
        f"{usage.uptime_ns // 1_000_000_000} s",
    )


def _plain(usage: Usage) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(usage)


def _stream(names: Sequence[str]) -> None:
    from rich.live import Live
    from rich.table import Table

    before: dict[str, Usage] = {}
    with Live(auto_refresh=False) as live:
        while True:
            now = dict(_measure(names))
            table = Table(*HEAD, box=None)
            for name, usage in now.items():
                table.add_row(*row(name, usage, before.get(name)))
            live.update(table, refresh=True)
            before = now
            time.sleep(INTERVAL_SECONDS)
