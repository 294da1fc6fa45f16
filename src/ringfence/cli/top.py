"""`ringfence top`: the processes in a guest."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, one_name, print_json


@click.command("top")
@one_name
@click.argument("options", metavar="[PS OPTION]...", nargs=-1)
@as_json
def command(name: str, options: tuple[str, ...], is_json: bool) -> int:
    """List the guest's processes, as its ps does."""
    from ringfence.host.vm import VM

    done = VM.find(name).exec(["ps", *options])
    if done.returncode:
        click.echo(done.stderr.rstrip(), err=True)
    elif is_json:
        print_json({"name": name, "lines": done.stdout.splitlines()})
    else:
        click.echo(done.stdout.rstrip())
    return int(done.returncode)
