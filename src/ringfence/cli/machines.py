"""What the verbs about managed machines share: names with completion, one error line each, tables, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.host.vm import VM

_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class MachineName(click.ParamType):
    """A machine's name, completed from those that there are."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from ringfence.host.registry import list_machines

        return [
            CompletionItem(found.name, help=found.state)
            for found in list_machines()
            if found.name.startswith(incomplete)
        ]


one_name = click.argument("name", metavar="NAME", type=MachineName())
many_names = click.argument("names", metavar="NAME...", type=MachineName(), nargs=-1, required=True)
as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


def for_each(names: Sequence[str], action: Callable[[str], object]) -> int:
    """Do it to each; one that fails is told on stderr and does not stop the others. The exit status."""
    status = 0
    for name in names:
        try:
            action(name)
        except RingfenceError as error:
            click.echo(f"ringfence: {' '.join(str(error).split())}", err=True)
            status = error.exit_status
    return status


def change_each(names: Sequence[str], is_json: bool, change: Callable[[VM], object]) -> int:
    """Do it to each, and print the names of those to which it was done. The exit status."""
    done: list[str] = []

    def act(name: str) -> None:
        from ringfence.host.vm import VM

        change(VM.find(name))
        done.append(name)
        if not is_json:
            click.echo(name)

    status = for_each(names, act)
    if is_json:
        print_json(done)
    return status


def find_vm(name: str) -> VM:
    """One whose user is told, on a terminal, when its guest's agent makes them wait.

    Raises:
        UserError: there is none of that name.
    """
    from ringfence.host.vm import VM

    vm = VM.find(name)
    if sys.stderr.isatty():
        vm.on_wait = lambda: click.echo(f"ringfence: waiting for an agent in {name}'s guest", err=True)
    return vm


def print_json(value: Any, is_long: bool = False) -> None:
    """Dataclasses as objects; on a terminal indented, else a line, unless it would be a long one."""
    indent = 2 if is_long or sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, default=_plain))


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need to be."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("   ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def age(since_ns: int) -> str:
    """How long ago, in its largest unit."""
    seconds = max(0, int(time.time() - since_ns / 1e9))
    for length, unit in _AGES:
        count = seconds // length
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "now"


def size(count: int) -> str:
    """Bytes as people read them."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
