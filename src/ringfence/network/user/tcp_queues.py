"""The two queues of a TCP connection: what the guest has not acknowledged, and what the host has not taken.

Both count into one `Budget` of all connections.
"""

from __future__ import annotations

import secrets
import socket
from collections import deque
from contextlib import suppress
from itertools import islice

from ringfence.network.checksum import Buffer
from ringfence.network.user.tcp_segment import SEQUENCE_MASK

#: in one call to the host, which has a limit (IOV_MAX)
_PIECES_MAX = 256
#: Pieces of data shorter than this are gathered, up to so many bytes.
_SMALL_BYTES, _GATHERED_BYTES = 4096, 64 << 10
#: What a piece takes beside its data.
_PIECE_BYTES = 64


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
        self._budget.used_bytes += len(data) + _PIECE_BYTES
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
                self._budget.used_bytes -= _PIECE_BYTES
            self._budget.used_bytes -= done
            count -= done
        if count and self.is_fin_sent:
            self.is_fin_acked = True

    def clear(self) -> None:
        self._budget.used_bytes -= sum(map(len, self._data)) + len(self._data) * _PIECE_BYTES
        self._data.clear()


class Backlog:
    """Data on its way to the host's socket."""

    def __init__(self, host: socket.socket, budget: Budget) -> None:
        self._host = host
        self._budget = budget
        self._data: deque[memoryview | bytearray] = deque()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, data: memoryview) -> None:
        """Take data that `write` will hand over. What is small is copied together: a piece of a byte would
        hold a whole packet."""
        last = self._data[-1] if self._data else None
        if len(data) >= _SMALL_BYTES:
            self._data.append(data)
        elif isinstance(last, bytearray) and len(last) < _GATHERED_BYTES:
            last += data
        else:
            self._data.append(bytearray(data))
        self._count(len(data))

    def write(self) -> None:
        """Hand over what the host takes; many small pieces go in one call.

        Raises:
            OSError: the host's connection is gone.
        """
        with suppress(BlockingIOError):
            while self._data:
                pieces = list(islice(self._data, _PIECES_MAX))
                done = self._host.sendmsg(pieces)
                self._count(-done)
                if self._release(done):
                    return

    def _release(self, count: int) -> bool:
        """Forget so many bytes; whether they end within a piece: the host was full."""
        while count:
            first = self._data[0]
            if count < len(first):
                self._data[0] = memoryview(first)[count:]
                return True
            count -= len(self._data.popleft())
        return False

    def clear(self) -> None:
        self._data.clear()
        self._count(-self.size_bytes)

    def _count(self, change: int) -> None:
        self.size_bytes += change
        self._budget.used_bytes += change
