"""`ringfence ssh`: the ssh of this host, to the port that leads to a guest's."""

from __future__ import annotations

import os

import click

from ringfence.cli.machines import MachineName

SSH_PORT = 22
#: A port on the loopback is this user's machine, another one tomorrow: ssh must not remember its key.
LOOPBACK_OPTIONS = ("-o", "NoHostAuthenticationForLocalhost=yes")


@click.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("target", metavar="[USER@]NAME", type=MachineName())
@click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def command(target: str, arguments: tuple[str, ...]) -> None:
    """Connect by ssh to a guest whose port 22 is published. Arguments are ssh's, or a command."""
    from ringfence.errors import HostError, UserError
    from ringfence.host.ports import published

    user, _, name = target.rpartition("@")
    found = [port for port in published(name) if port.guest_port == SSH_PORT and port.protocol == "tcp"]
    if not found:
        raise UserError(f"{name} has no way to its port 22: create it with -p 2222:22, or use 'exec'")
    host = found[0].host if found[0].host not in ("0.0.0.0", "") else "127.0.0.1"
    options = ["-p", str(found[0].host_port), *LOOPBACK_OPTIONS]
    line = ["ssh", *options, f"{user}@{host}" if user else host, *arguments]
    try:
        os.execvp("ssh", line)
    except OSError as error:
        raise HostError(f"cannot run ssh: {error.strerror}") from error
