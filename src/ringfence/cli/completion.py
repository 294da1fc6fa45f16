"""`ringfence completion`: what a shell needs to complete verbs, options and machines' names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ringfence.errors import UserError

PROGRAMS = ("ringfence", "rf")
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.option(
    "--for", "prog_name", default="ringfence", type=click.Choice(("ringfence", "rf")), show_default=True
)
def command(shell: str, prog_name: str) -> None:
    """Print completion for a shell: eval "$(ringfence completion bash)"."""
    from ringfence.cli.main import ringfence

    kind = get_completion_class(shell)
    if kind is None:
        raise UserError(f"no completion for {shell}")
    try:
        click.echo(kind(ringfence, {}, prog_name, f"_{prog_name.upper()}_COMPLETE").source())
    except RuntimeError as error:
        raise UserError(f"{shell}: {error}") from error
