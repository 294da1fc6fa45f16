"""`ringfence cp`: files between this host and a guest."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, find_vm, print_json


@click.command("cp")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@as_json
def command(source: str, target: str, is_json: bool) -> None:
    """Copy a file or a tree. One of SOURCE and TARGET is NAME:/PATH, in the guest."""
    from ringfence.errors import UserError

    names = [_machine(source), _machine(target)]
    if bool(names[0]) == bool(names[1]):
        raise UserError("one of SOURCE and TARGET is in a guest: write NAME:/PATH")
    vm = find_vm(names[0] or names[1])
    copied = vm.cp(source.removeprefix(names[0]), target.removeprefix(names[1]))
    if is_json:
        print_json(copied)


def _machine(path: str) -> str:
    """The machine's name before the colon; "" for a path of this host."""
    name, colon, _ = path.partition(":")
    return name if colon and name and "/" not in name else ""
