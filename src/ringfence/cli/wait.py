"""`ringfence wait`: until machines end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ringfence.cli.machines import as_json, for_each, many_names, print_json

if TYPE_CHECKING:
    from ringfence.host.waiting import Waiting


@click.command("wait")
@many_names
@as_json
def command(names: tuple[str, ...], is_json: bool) -> int:
    """Wait until machines have ended, and print the exit status of each."""
    found: dict[str, Waiting] = {}
    with ExitStack() as stack:

        def ask(name: str) -> None:
            from ringfence.host.vm import VM

            found[name] = stack.enter_context(VM.find(name).waiting())

        def tell(name: str) -> None:
            ended = found[name].ended()
            if is_json:
                print_json(ended)
            else:
                click.echo(str(ended.exit_status))

        # All are asked first: the last may end first, and leave nothing behind.
        status = for_each(names, ask)
        return for_each([name for name in names if name in found], tell) or status
