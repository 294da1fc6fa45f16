"""`ringfence logs`: what a guest printed on its serial console, or what its VMM said."""

from __future__ import annotations

import sys

import click

from ringfence.cli.machines import as_json, one_name, print_json


@click.command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on until the machine ends.")
@click.option("-n", "--tail", metavar="LINES", type=click.IntRange(0), help="Only the last lines.")
@click.option("--vmm", is_flag=True, help="The VMM's own log instead.")
@one_name
@as_json
def command(name: str, follow: bool, tail: int | None, vmm: bool, is_json: bool) -> None:
    """Print what the guest wrote to its console, the last 8 MiB of it."""
    from ringfence.errors import HostError
    from ringfence.host.registry import find

    if follow and (vmm or is_json):
        raise click.UsageError("--follow goes with neither --vmm nor --json")
    record = find(name)
    if follow and record.is_alive:
        _follow(name, tail)
        return
    path = record.place.log if vmm else record.place.console_log
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    if is_json:
        print_json({"name": name, "lines": _last(data, tail).decode(errors="replace").splitlines()})
    else:
        sys.stdout.buffer.write(_last(data, tail))


def _last(data: bytes, lines: int | None) -> bytes:
    if lines is None:
        return data
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""


def _follow(name: str, tail: int | None) -> None:
    from ringfence.api.frames import Channel
    from ringfence.api.messages import Console
    from ringfence.host.console import REPLAY_BYTES
    from ringfence.host.vm import VM

    with VM.find(name).connect() as client:
        stream = client.open(Console(REPLAY_BYTES))
        is_first = True
        while (frame := stream.receive()) is not None:
            if frame[0] is Channel.STDOUT:
                data = _last(frame[1], tail) if is_first else frame[1]
                is_first = False
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
