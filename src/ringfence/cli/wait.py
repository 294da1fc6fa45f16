"""`ringfence wait`: until machines end."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, for_each, many_names, print_json


@click.command("wait")
@many_names
@as_json
def command(names: tuple[str, ...], is_json: bool) -> int:
    """Wait until machines have ended, and print the exit status of each."""

    def wait(name: str) -> None:
        from ringfence.host.vm import VM

        ended = VM.find(name).wait()
        if is_json:
            print_json(ended)
        else:
            click.echo(str(ended.exit_status))

    return for_each(names, wait)
