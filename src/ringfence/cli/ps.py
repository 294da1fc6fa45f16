"""`ringfence ps`: the machines of this user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ringfence.cli.machines import age, as_json, print_json, print_table

if TYPE_CHECKING:
    from ringfence.host.registry import Record

#: States of machines that are not over.
ALIVE = {"starting", "running", "paused", "busy", "elsewhere"}


@click.command("ps")
@click.option("-a", "--all", "shows_all", is_flag=True, help="Those that have ended as well.")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@as_json
def command(shows_all: bool, quiet: bool, is_json: bool) -> None:
    """List machines: the running ones, and any that crashed."""
    from ringfence.host.registry import list_machines

    found = [
        record
        for record in list_machines()
        if shows_all or record.state in ALIVE or record.state == "crashed"
    ]
    if is_json:
        print_json([describe(record) for record in found])
    elif quiet:
        for record in found:
            click.echo(record.name)
    else:
        print_table(
            ("NAME", "GUEST", "CREATED", "STATUS", "PORTS"),
            [(record.name, guest(record), created(record), record.status, ports(record)) for record in found],
        )
        _show_last_words(found)


def describe(record: Record) -> dict[str, Any]:
    """A machine as JSON has it."""
    return {
        "name": record.name,
        "state": record.state,
        "status": record.status,
        "pid": record.pid,
        "created_ns": record.spec.created_ns if record.spec else 0,
        "guest": guest(record),
        "publish": record.spec.machine.get("publish", []) if record.spec else [],
        "labels": record.spec.labels if record.spec else {},
        "ended": record.ended,
        "last_lines": record.last_lines() if record.state == "crashed" else [],
    }


def guest(record: Record) -> str:
    if record.spec is None:
        return "?"
    machine = record.spec.machine
    return str(record.spec.guest or machine.get("kernel") or machine.get("firmware")).rpartition("/")[2]


def created(record: Record) -> str:
    return age(record.spec.created_ns) if record.spec else "?"


def ports(record: Record) -> str:
    return ", ".join(record.spec.machine.get("publish", ())) if record.spec else ""


def _show_last_words(found: list[Record]) -> None:
    for record in found:
        if record.state == "crashed":
            for line in record.last_lines():
                click.echo(f"  {record.name}: {line}", err=True)
