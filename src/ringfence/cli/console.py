"""`ringfence console`: a machine's serial console on this terminal."""

from __future__ import annotations

import click

from ringfence.cli.machines import one_name

#: Of earlier output, what fills a screen.
REPLAY_BYTES = 4096


@click.command("console")
@click.option("--no-replay", is_flag=True, help="Nothing of what was printed before.")
@one_name
def command(name: str, no_replay: bool) -> None:
    """Attach to a guest's serial console. Ctrl-] leaves it, and the machine runs on."""
    from ringfence.host.vm import VM

    attend(VM.find(name), 0 if no_replay else REPLAY_BYTES)


def attend(vm: object, replay: int) -> bool:
    """Carry bytes until the user leaves (True) or the machine ends (False)."""
    import sys
    import threading

    from ringfence.api.frames import Channel, split
    from ringfence.api.messages import Console
    from ringfence.host.vm import VM
    from ringfence.vmm.terminal import Terminal

    assert isinstance(vm, VM)
    has_left = threading.Event()
    with vm.connect() as client:
        stream = client.open(Console(replay))

        def send(data: bytes) -> None:
            for channel, payload in split(Channel.STDIN, data):
                stream.send(channel, payload)

        def leave() -> None:
            has_left.set()
            stream.close()

        with Terminal(send, leave) as terminal:
            if terminal.is_interactive:
                print("ringfence: Ctrl-] leaves\r", file=sys.stderr)
            while (frame := stream.receive()) is not None:
                if frame[0] is Channel.STDOUT:
                    terminal.write(frame[1])
    return has_left.is_set()
