"""`ringfence port`: which ports of this host lead to a guest."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, one_name, print_json


@click.command("port")
@one_name
@click.argument("port", metavar="[PORT[/udp]]", default="")
@as_json
def command(name: str, port: str, is_json: bool) -> None:
    """List a machine's published ports, or where one of the guest's is reached."""
    from ringfence.errors import UserError
    from ringfence.host.ports import published

    number, _, protocol = port.partition("/")
    wanted = (number, protocol or "tcp")
    found = [each for each in published(name) if not port or (str(each.guest_port), each.protocol) == wanted]
    if port and not found:
        raise UserError(f"{name} publishes no port {port}")
    if is_json:
        print_json(found)
        return
    for each in found:
        click.echo(each.address if port else f"{each.guest_port}/{each.protocol} -> {each.address}")
