"""The serial console of a machine in another process, with the methods of `vmm.console.Console`."""

from __future__ import annotations

import threading

from ringfence.api.frames import BadFrame, Channel, split
from ringfence.api.messages import Console as ConsoleRequest
from ringfence.host.client import Client
from ringfence.vmm.console import Console

#: Bytes of earlier output that a new console starts with.
REPLAY_BYTES = 1 << 20


class RemoteConsole(Console):
    """Reads on a thread of its own until the machine ends or `hang_up`."""

    def __init__(self, client: Client) -> None:
        super().__init__(post=lambda work: None)
        self._client = client
        self._stream = client.open(ConsoleRequest(REPLAY_BYTES))
        self._thread = threading.Thread(target=self._read_all, name="console", daemon=True)
        self._thread.start()

    def send(self, text: str | bytes) -> None:
        """Type ``text`` (UTF-8) on the guest's serial line. Waits while too much is untaken."""
        for channel, payload in split(Channel.STDIN, text.encode() if isinstance(text, str) else text):
            self._stream.send(channel, payload)

    def hang_up(self) -> None:
        self._stream.close()
        self._thread.join()
        self._client.close()

    def _read_all(self) -> None:
        try:
            while (frame := self._stream.receive()) is not None:
                if frame[0] is Channel.STDOUT:
                    self.receive(frame[1])
        except (OSError, BadFrame):
            pass  # the machine's process is gone: that is the end of its output
        finally:
            self.close()
