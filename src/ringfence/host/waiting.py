"""Waiting for a machine's end.

One that is removed with its end leaves no word for who comes later, but who has asked before is told. So
whoever is about to end a machine asks first.
"""

from __future__ import annotations

import contextlib
import time
from types import TracebackType

from ringfence.api.messages import Ended, Refused, Wait
from ringfence.api.places import Place
from ringfence.errors import HostError
from ringfence.host import registry
from ringfence.host.client import Client, Gone, NoAnswer
from ringfence.host.pidfd import Process

#: How often a process that has no socket yet is looked at.
LOOK_SECONDS = 0.05


class Waiting:
    """Has asked the machine's process how it ends."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client: Client | None = None
        self.process = Process(registry.holder(place))
        self._ask()

    def _ask(self) -> None:
        with contextlib.suppress(Gone):
            client = Client(self._place.socket)
            try:
                client.send(Wait())
            except BaseException:
                client.close()
                raise
            self._client = client

    def ended(self, timeout: float | None = None) -> Ended:
        """How it ended, once it has, and its process is gone.

        Raises:
            NoAnswer: it still runs after ``timeout`` seconds.
            HostError: its process died without a word.
            UserError: it was over, and removed, before this asked.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._client is None and not self.process.wait(LOOK_SECONDS):
            if deadline is not None and time.monotonic() > deadline:
                raise NoAnswer("the machine's process takes no requests")
            self._ask()
        ended = None
        if self._client is not None:
            left = None if deadline is None else deadline - time.monotonic()
            with contextlib.suppress(Gone):
                ended = self._client.receive(left)
        if ended is not None and not isinstance(ended, Ended):
            raise Refused("bad-message", f"the machine answered {ended.NAME!r}")
        self.process.wait()
        ended = ended or registry.read_exit(self._place)
        if ended is None:
            name = registry.find(self._place.name).name
            raise HostError(f"{name}: its process died; see 'ringfence logs --vmm {name}'")
        return ended

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)
        if self._client is not None:
            self._client.close()
