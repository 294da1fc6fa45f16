"""`ringfence port`: which ports of this host lead to a guest."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, one_name, print_json


@click.command("port")
@one_name
@as_json
def command(name: str, is_json: bool) -> None:
    """List a machine's published ports."""
    from ringfence.host.ports import published

    found = published(name)
    if is_json:
        print_json(found)
        return
    for port in found:
        click.echo(f"{port.guest_port}/{port.protocol} -> {port.host}:{port.host_port}")
