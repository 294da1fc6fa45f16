"""The two queues of a TCP connection: what the guest has not acknowledged, and what the host has not taken.

Both count into one `Budget` of all connections.
"""

from __future__ import annotations

import secrets
import socket
from collections import deque
from contextlib import suppress

from ringfence.network.checksum import Buffer
from ringfence.network.user.tcp_segment import SEQUENCE_MASK


class Budget:
    """Bytes that all connections together hold."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0

    @property
    def is_spent(self) -> bool:
        return self.used_bytes >= self._limit_bytes


class Sent:
    """What was sent to the guest: up to ``next``, acknowledged up to ``acked`` (RFC 9293: SND.NXT, SND.UNA).

    SYN comes first and FIN last; each takes a sequence number, as a byte of data does.
    """

    def __init__(self, budget: Budget) -> None:
        self.acked = self.next = secrets.randbits(32)
        self.is_syn_acked = False
        self.is_fin_sent = self.is_fin_acked = False
        self._data: deque[Buffer] = deque()
        self._budget = budget

    @property
    def in_flight(self) -> int:
        return (self.next - self.acked) & SEQUENCE_MASK

    @property
    def oldest(self) -> Buffer:
        """Data that would be sent again first; empty if there is none."""
        return self._data[0] if self._data else b""

    def add_syn(self) -> None:
        self.next = (self.acked + 1) & SEQUENCE_MASK

    def add_fin(self) -> None:
        self.is_fin_sent = True
        self.next = (self.next + 1) & SEQUENCE_MASK

    def add(self, data: bytes) -> None:
        self._data.append(data)
        self._budget.used_bytes += len(data)
        self.next = (self.next + len(data)) & SEQUENCE_MASK

    def release(self, count: int) -> None:
        """The guest has so many more sequence numbers."""
        self.acked = (self.acked + count) & SEQUENCE_MASK
        if not self.is_syn_acked:
            self.is_syn_acked = True
            count -= 1
        while count and self._data:
            first = self._data[0]
            done = min(count, len(first))
            if done < len(first):
                self._data[0] = memoryview(first)[done:]
            else:
                self._data.popleft()
            self._budget.used_bytes -= done
            count -= done
        if count and self.is_fin_sent:
            self.is_fin_acked = True

    def clear(self) -> None:
        self._budget.used_bytes -= sum(map(len, self._data))
        self._data.clear()


class Backlog:
    """Data on its way to the host's socket."""

    def __init__(self, host: socket.socket, budget: Budget) -> None:
        self._host = host
        self._budget = budget
        self._data: deque[memoryview] = deque()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._data)

    def write(self, data: memoryview) -> None:
        """Hand over what the host takes, and keep the rest.

        Raises:
            OSError: the host's connection is gone.
        """
        if not self._data:
            with suppress(BlockingIOError):
                data = data[self._host.send(data) :]
        if data:
            self._data.append(data)
            self._count(len(data))

    def write_on(self) -> None:
        """Hand over more.

        Raises:
            OSError: the host's connection is gone.
        """
        try:
            while self._data:
                data = self._data[0]
                done = self._host.send(data)
                self._count(-done)
                if done < len(data):
                    self._data[0] = data[done:]
                    return
                self._data.popleft()
        except BlockingIOError:
            return

    def clear(self) -> None:
        self._data.clear()
        self._count(-self.size_bytes)

    def _count(self, change: int) -> None:
        self.size_bytes += change
        self._budget.used_bytes += change
