"""A split virtqueue, the device's side: takes descriptor chains, returns used buffers.

VIRTIO 1.2, section 2.7::

    descriptor table   size x  { address le64, length le32, flags le16, next le16 }
    available ring     flags le16, idx le16, ring[size] le16, used_event le16
    used ring          flags le16, idx le16, ring[size] { id le32, length le32 }, avail_event le16

All three lie in guest RAM and the guest may write anything there at any time. What can't be
obeyed (a loop, an index or an address out of bounds) makes the queue *broken*: it stops, the
reason is counted, and the transport asks the driver for a reset. Nothing is ever raised.

Memory ordering: the guest publishes ``idx`` after what it covers, and so do we; x86 keeps loads
and stores in order among themselves. The one pair that may swap is a store followed by a load of
something else, and both notification checks are such a pair; see `_full_barrier`.
"""

from __future__ import annotations

import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ringfence.devices.device import Record
from ringfence.devices.dma import GuestMemory
from ringfence.devices.virtio.chain import Chain, Segment
from ringfence.errors import BadAddress

RING_INDIRECT_DESC = 1 << 28
RING_EVENT_IDX = 1 << 29

DESC_NEXT = 1
DESC_WRITE = 2
DESC_INDIRECT = 4
AVAIL_NO_INTERRUPT = 1

#: The most descriptors in one request. The host takes no longer I/O vector (IOV_MAX), and a
#: guest can't make us build a longer list.
SEGMENTS_MAX = 1024
#: The most bytes in one request (section 2.7.5.2 caps a chain at 2**32).
CHAIN_BYTES_MAX = (1 << 32) - 1

_DESCRIPTOR = struct.Struct("<QIHH")
_USED_ELEMENT = struct.Struct("<II")
_U16 = struct.Struct("<H")

_barrier_lock = threading.Lock()


def _full_barrier() -> None:
    """Order our earlier stores before our later loads, as seen by another vCPU's thread.

    Taking a lock is a locked instruction, which on x86 is a full fence.
    """
    with _barrier_lock:
        pass


@dataclass
class _Rings:
    """Views straight on the three areas, made when the queue starts."""

    descriptors: memoryview
    available: memoryview
    used: memoryview


@dataclass
class QueueEvents:
    """What a queue tells its transport."""

    #: used buffers wait for the driver, and it wants to know
    interrupt: Callable[[], None]
    #: the queue broke
    broken: Callable[[], None]
    #: call the device's `notify` again, soon and not from here
    again: Callable[[], None]


@dataclass
class Queue:
    """One virtqueue. The driver sets size and addresses before it starts."""

    memory: GuestMemory
    max_size: int
    events: QueueEvents
    size: int = 0
    is_enabled: bool = False
    descriptors_gpa: int = 0
    available_gpa: int = 0
    used_gpa: int = 0
    #: enabled, the driver is ready and nothing is wrong: chains may be taken
    is_running: bool = False
    has_event_idx: bool = False
    has_indirect: bool = False
    #: free-running 16-bit indices: next available entry to take, next used entry to fill, and
    #: the latter at the last interrupt decision
    next_available: int = 0
    next_used: int = 0
    signalled: int = 0
    #: why the queue broke, how often, since the VM started
    failures: Counter[str] = field(default_factory=Counter)
    _rings: _Rings | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.size = self.max_size

    # Life.

    def start(self, features: int) -> None:
        """The driver is ready: from now on chains may be taken."""
        self.has_event_idx = bool(features & RING_EVENT_IDX)
        self.has_indirect = bool(features & RING_INDIRECT_DESC)
        self.is_running = True
        self._map()

    def _map(self) -> None:
        if self.descriptors_gpa % 16 or self.available_gpa % 2 or self.used_gpa % 4:
            return self.fail("ring not aligned")
        try:
            self._rings = _Rings(
                self.memory.view(self.descriptors_gpa, 16 * self.size),
                self.memory.view(self.available_gpa, 6 + 2 * self.size),
                self.memory.view(self.used_gpa, 6 + 8 * self.size),
            )
        except BadAddress:
            self.fail("ring outside RAM")

    def fail(self, reason: str) -> None:
        """The driver broke the rules: stop until it resets the device."""
        if self.is_running:
            self.is_running = False
            self.failures[reason] += 1
            self.events.broken()

    # Taking requests.

    def chains(self) -> Iterator[Chain]:
        """The requests that wait; one interrupt at the end covers all that were pushed.

        At most one ring's worth: a request that makes the device write into the rings could
        otherwise feed this loop for ever. What is left comes with another `notify`.
        """
        for _ in range(self.size):
            chain = self.pop()
            if chain is None:
                break
            yield chain
        else:
            self.events.again()
        self.signal()

    def pop(self) -> Chain | None:
        """Take the next request, if there is one."""
        rings = self._rings
        if not self.is_running or rings is None:
            return None
        waiting = self._waiting(rings)
        if waiting == 0 and self.has_event_idx:
            # Going idle: ask to be notified of the next entry, then look again, for the driver
            # may have added it before it could see the request.
            _U16.pack_into(rings.used, 4 + 8 * self.size, self.next_available)
            self._used_dirtied()
            _full_barrier()
            waiting = self._waiting(rings)
        if waiting == 0:
            return None
        if waiting > self.size:
            self.fail("available index jumped")
            return None
        slot = self.next_available % self.size
        (head,) = _U16.unpack_from(rings.available, 4 + 2 * slot)
        chain = self._walk(rings.descriptors, head)
        if isinstance(chain, str):
            self.fail(chain)
            return None
        self.next_available = (self.next_available + 1) & 0xFFFF
        return chain

    def unpop(self, n: int) -> None:
        """Put back the ``n`` chains taken last, as if they had not been."""
        self.next_available = (self.next_available - n) & 0xFFFF

    def _waiting(self, rings: _Rings) -> int:
        index: int = _U16.unpack_from(rings.available, 2)[0]
        return (index - self.next_available) & 0xFFFF

    def _walk(self, table: memoryview, head: int) -> Chain | str:
        """Follow one chain; a string says what is wrong with it. A loop ends as too long a chain."""
        readable: list[Segment] = []
        writable: list[Segment] = []
        total = 0
        count = self.size
        is_indirect = False
        index = head
        while True:
            if index >= count:
                return "descriptor index out of bounds"
            if len(readable) + len(writable) >= SEGMENTS_MAX:
                return "chain too long"
            gpa, length, flags, link = _DESCRIPTOR.unpack_from(table, 16 * index)
            if flags & DESC_INDIRECT:
                if is_indirect or not self.has_indirect or flags & DESC_NEXT:
                    return "indirect descriptor not allowed"
                if length % 16 or not 1 <= length // 16 <= SEGMENTS_MAX:
                    return "bad indirect table size"
                segment = self._segment(gpa, length)
                if segment is None:
                    return "indirect table outside RAM"
                table, count, index, is_indirect = segment.view, length // 16, 0, True
                continue
            total += length
            if length == 0 or total > CHAIN_BYTES_MAX:
                return "bad buffer length"
            segment = self._segment(gpa, length)
            if segment is None:
                return "buffer outside RAM"
            if flags & DESC_WRITE:
                writable.append(segment)
            elif writable:
                return "readable buffer after a writable one"
            else:
                readable.append(segment)
            if not flags & DESC_NEXT:
                return Chain(self.memory, head, readable, writable)
            index = link

    def _segment(self, gpa: int, length: int) -> Segment | None:
        try:
            return Segment(gpa, self.memory.view(gpa, length))
        except BadAddress:
            return None

    # Returning them.

    def push(self, chain: Chain, written_bytes: int) -> None:
        """Give a request back; ``written_bytes`` counts from the start of its writable part."""
        rings = self._rings
        if not self.is_running or rings is None:
            return
        _USED_ELEMENT.pack_into(rings.used, 4 + 8 * (self.next_used % self.size), chain.head, written_bytes)
        self.next_used = (self.next_used + 1) & 0xFFFF
        _U16.pack_into(rings.used, 2, self.next_used)
        self._used_dirtied()

    def _used_dirtied(self) -> None:
        self.memory.dirtied(self.used_gpa, 6 + 8 * self.size)

    def signal(self) -> None:
        """Interrupt the driver if it wants to know of what was pushed since the last time."""
        rings = self._rings
        if not self.is_running or rings is None or self.signalled == self.next_used:
            return
        old, self.signalled = self.signalled, self.next_used
        _full_barrier()
        if self.has_event_idx:
            (event,) = _U16.unpack_from(rings.available, 4 + 2 * self.size)
            # Did we just pass the entry it waits for? (section 2.7.10.1)
            is_wanted = (self.next_used - event - 1) & 0xFFFF < (self.next_used - old) & 0xFFFF
        else:
            (flags,) = _U16.unpack_from(rings.available, 0)
            is_wanted = not flags & AVAIL_NO_INTERRUPT
        if is_wanted:
            self.events.interrupt()

    # State.

    _SAVED = (
        "size", "is_enabled", "descriptors_gpa", "available_gpa", "used_gpa", "is_running",
        "has_event_idx", "has_indirect", "next_available", "next_used", "signalled",
    )  # fmt: skip

    def save(self) -> Record:
        return {name: getattr(self, name) for name in self._SAVED}

    def restore(self, record: Record) -> None:
        for name in self._SAVED:
            setattr(self, name, record[name])
        self._rings = None
        if self.is_running:
            self._map()

    def reset(self) -> None:
        self.size = self.max_size
        self.is_enabled = self.is_running = self.has_event_idx = self.has_indirect = False
        self.descriptors_gpa = self.available_gpa = self.used_gpa = 0
        self.next_available = self.next_used = self.signalled = 0
        self._rings = None
