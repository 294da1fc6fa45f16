"""`ringfence exec`: a program in the guest, by its agent."""

from __future__ import annotations

import os
import sys

import click

from ringfence.cli.machines import MachineName, find_vm


def variables(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, or NAME for the value that it has here."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        if equals or name in os.environ:
            found[name] = value if equals else os.environ[name]
    return found


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", "with_tty", is_flag=True, help="Give the program a terminal.")
@click.option(
    "-e", "--env", metavar="NAME[=VALUE]", multiple=True, callback=variables, help="A variable for it."
)
@click.option(
    "-w", "--workdir", metavar="DIRECTORY", default="", help="Where it starts; else the user's home."
)
@click.option("-u", "--user", metavar="USER", default="", help="Who it runs as; else root.")
@click.argument("name", metavar="NAME", type=MachineName())
@click.argument("argv", metavar="COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    interactive: bool,
    with_tty: bool,
    env: dict[str, str],
    workdir: str,
    user: str,
    name: str,
    argv: tuple[str, ...],
) -> int:
    """Run a program in a guest. Its exit status is this one's; 126 and 127: it could not be started.

    A guest that boots is waited for: a minute, and a few seconds where it does nothing.
    """
    from ringfence.api.messages import Exec
    from ringfence.cli.session import Session, window_size

    if with_tty and interactive and not sys.stdin.isatty():
        raise click.UsageError("-t needs a terminal as standard input: leave it out")
    if with_tty:
        env.setdefault("TERM", os.environ.get("TERM", "xterm"))
    request = Exec(argv, env, workdir, with_tty, window_size(), user, interactive)
    with find_vm(name).opened(request) as stream:
        ended = Session(stream, interactive, with_tty).run()
    if ended.error:
        click.echo(f"ringfence: {' '.join(ended.error.split())}", err=True)
    return ended.status
