"""A descriptor chain: one request, as pieces of guest RAM the device reads and pieces it writes.

Virtual I/O Device (VIRTIO) 1.2, section 2.7.4 (message framing): where a request is cut into
descriptors means nothing. So a device asks for bytes by their offset in the request's
device-readable or device-writable part, never for a descriptor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ringfence.devices.dma import GuestMemory


class Segment(NamedTuple):
    """One descriptor's buffer."""

    gpa: int
    view: memoryview


class Chain:
    """A request taken from a queue; give it back with `Queue.push`."""

    def __init__(
        self, memory: GuestMemory, head: int, readable: Sequence[Segment], writable: Sequence[Segment]
    ) -> None:
        self._memory = memory
        self.head = head
        self._readable = readable
        self._writable = writable
        self.readable_bytes = sum(len(segment.view) for segment in readable)
        self.writable_bytes = sum(len(segment.view) for segment in writable)

    def read(self, offset: int, n: int) -> bytes:
        """Up to ``n`` bytes of the device-readable part, copied once: the guest can't change them later."""
        return b"".join(self.readable(offset, n))

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """Copy into the device-writable part as far as it reaches; returns how many bytes."""
        done = 0
        for gpa, view in _slices(self._writable, offset, len(data)):
            view[:] = data[done : done + len(view)]
            self._memory.dirtied(gpa, len(view))
            done += len(view)
        return done

    def readable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the device-readable part as an I/O vector."""
        return [segment.view for segment in _slices(self._readable, offset, n)]

    def writable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the device-writable part as an I/O vector; call `dirtied` once it is filled."""
        return [segment.view for segment in _slices(self._writable, offset, n)]

    def dirtied(self, offset: int, n: int) -> None:
        for gpa, view in _slices(self._writable, offset, n):
            self._memory.dirtied(gpa, len(view))


def _slices(segments: Sequence[Segment], offset: int, n: int) -> Iterator[Segment]:
    """The pieces that make up bytes [offset, offset+n), or as many of them as there are."""
    for gpa, view in segments:
        if n <= 0:
            return
        length = len(view)
        if offset >= length:
            offset -= length
            continue
        take = min(length - offset, n)
        yield Segment(gpa + offset, view[offset : offset + take])
        n -= take
        offset = 0
