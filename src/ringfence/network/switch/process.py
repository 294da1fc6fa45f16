"""The process of a switch: from its first machine to its last."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from ringfence.log import configure
from ringfence.network.event_loop import EventLoop
from ringfence.network.switch import rendezvous
from ringfence.network.switch.server import Switch

#: How long it waits for its first machine, and for who is connecting just now.
FIRST_SECONDS, AGAIN_SECONDS = 10.0, 0.2
_STANDARD_FDS = 3


def main(path: str, fd: int) -> None:
    """Serve the listening socket ``fd``, which is found at ``path``."""
    _close_others(fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure()
    loop = EventLoop()
    listening = socket.socket(fileno=fd)

    def leave() -> None:
        """Go, unless somebody has come in or is at the door."""
        if not switch.is_empty:
            return
        try:
            with rendezvous.locked(Path(path), wait=False):
                switch.accept()
                if switch.is_empty:
                    rendezvous.remove(Path(path))
                    loop.stop()
        except BlockingIOError:
            loop.call_later(AGAIN_SECONDS, leave)

    switch = Switch(loop, listening, leave)
    loop.call_later(FIRST_SECONDS, leave)
    loop.run()
    switch.close()
    loop.close()


def _close_others(kept: int) -> None:
    """Descriptors of the machine that started it are no business of a switch."""
    os.closerange(_STANDARD_FDS, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
