"""A split virtqueue, the device's side: takes descriptor chains, returns used buffers.

VIRTIO 1.2, section 2.7::

    descriptor table   size x  { address le64, length le32, flags le16, next le16 }
    available ring     flags le16, idx le16, ring[size] le16, used_event le16
    used ring          flags le16, idx le16, ring[size] { id le32, length le32 }, avail_event le16

All three lie in guest RAM and the guest may write anything there at any time. What can't be
obeyed (a loop, an index or an address out of bounds) makes the queue *broken*: it stops, the
reason is counted, and the transport asks the driver for a reset. Nothing is ever raised.

Compiled, since a packet of 64 KiB takes up to 43 chains. Memory ordering: the guest publishes ``idx`` after
what it covers, and so do we; x86 keeps loads and stores in order among themselves. The one pair that may swap
is a store followed by a load of something else, and both notification checks are such a pair.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import cython
from cython.cimports.libc.stdint import uint16_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.dma.chain import SEGMENTS_MAX, Bytes, Chain, ram_at
from cython.cimports.ringfence.core.dma.virtqueue import (
    FLAG_INDIRECT,
    FLAG_NEXT,
    FLAG_NO_INTERRUPT,
    FLAG_WRITE,
    Descriptor,
    UsedElement,
    full_barrier,
    shared_load,
    shared_store,
)
from cython.cimports.ringfence.core.memory.guest_memory import GuestMemory

RING_INDIRECT_DESC: int = 1 << 28
RING_EVENT_IDX: int = 1 << 29

_SAVED = (
    "size", "is_enabled", "descriptors_gpa", "available_gpa", "used_gpa",
    "has_event_idx", "has_indirect", "next_available", "next_used", "signalled",
)  # fmt: skip


@cython.cclass
class Virtqueue:
    """The driver sets size and addresses before it starts.

    Args:
        events: what the queue tells its transport; see `devices.virtio.common_config.QueueEvents`.
    """

    def __init__(self, memory: GuestMemory, max_size: int, events: Any) -> None:
        self.memory = memory
        self.max_size = max_size
        self.events = events
        self.failures = Counter()
        self.reset()

    # Life.

    def reset(self) -> None:
        self.size = self.max_size
        self.is_enabled = self.is_running = self.has_event_idx = self.has_indirect = False
        self.descriptors_gpa = self.available_gpa = self.used_gpa = 0
        self.next_available = self.next_used = 0
        self.signalled = 0
        self._descriptors = self._available = self._used = cython.NULL

    def start(self, features: int) -> None:
        """The driver is ready: from now on chains may be taken."""
        self.has_event_idx = bool(features & RING_EVENT_IDX)
        self.has_indirect = bool(features & RING_INDIRECT_DESC)
        self.is_running = True
        self._map()

    def stop(self) -> None:
        """No more chains are taken until the driver is ready again."""
        self.is_running = False

    @cython.cfunc
    def _map(self) -> cython.void:
        if self.size == 0:
            self.fail("ring of no size")
            return
        if self.descriptors_gpa % 16 or self.available_gpa % 2 or self.used_gpa % 4:
            self.fail("ring not aligned")
            return
        map = cython.address(self.memory.map)
        self._descriptors = ram_at(map, self.descriptors_gpa, 16 * self.size)
        self._available = ram_at(map, self.available_gpa, 6 + 2 * self.size)
        self._used = ram_at(map, self.used_gpa, 6 + 8 * self.size)
        if self._descriptors == cython.NULL or self._available == cython.NULL or self._used == cython.NULL:
            self.fail("ring outside RAM")

    def fail(self, reason: str) -> None:
        """The driver broke the rules: stop until it resets the device."""
        if self.is_running:
            self.stop()
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
        if not self.is_running:
            return None
        waiting: uint16_t = self._waiting()
        if waiting == 0 and self.has_event_idx:
            # Going idle: ask to be notified of the next entry, then look again, for the driver
            # may have added it before it could see the request.
            shared_store(self._used + 4 + 8 * self.size, self.next_available)
            self._used_dirtied()
            full_barrier()
            waiting = self._waiting()
        if waiting == 0:
            return None
        if waiting > self.size:
            self.fail("available index jumped")
            return None
        # SAFETY: here and below: the rings were mapped for `size`, which stays while the queue runs
        slot: uint32_t = self.next_available % self.size
        chain = Chain(self.memory, shared_load(self._available + 4 + 2 * slot))
        why = self._walk(chain)
        if why is not None:
            self.fail(why)
            return None
        self.next_available += 1
        return chain

    def unpop(self, n: int) -> None:
        """Put back the ``n`` chains taken last, as if they had not been."""
        self.next_available -= cython.cast(uint16_t, n)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _waiting(self) -> uint16_t:
        return shared_load(self._available + 2) - self.next_available

    @cython.cfunc
    def _walk(self, chain: Chain) -> str | None:
        """Follow one chain; what is wrong with it, or None. A loop ends as too long a chain."""
        map = cython.address(self.memory.map)
        table: Bytes = self._descriptors
        count: uint64_t = self.size
        index: uint64_t = chain.head
        total: uint64_t = 0
        is_indirect: cython.bint = False
        it: Descriptor
        host: Bytes
        while True:
            if index >= count:
                return "descriptor index out of bounds"
            if chain._count >= SEGMENTS_MAX:
                return "chain too long"
            # SAFETY: index < count, and as many descriptors were looked up
            memcpy(cython.address(it), table + 16 * index, 16)
            host = ram_at(map, it.gpa, it.length)
            if it.flags & FLAG_INDIRECT:
                if is_indirect or not self.has_indirect or it.flags & FLAG_NEXT:
                    return "indirect descriptor not allowed"
                if it.length % 16 or it.length == 0 or it.length // 16 > SEGMENTS_MAX:
                    return "bad indirect table size"
                if host == cython.NULL:
                    return "indirect table outside RAM"
                table, count, index, is_indirect = host, it.length // 16, 0, True
                continue
            total += it.length
            # section 2.7.5.2 caps a chain at 2**32
            if it.length == 0 or total >> 32:
                return "bad buffer length"
            if host == cython.NULL:
                return "buffer outside RAM"
            if not it.flags & FLAG_WRITE and chain.writable_bytes:
                return "readable buffer after a writable one"
            chain.add(it.gpa, it.length, host, it.flags & FLAG_WRITE)
            if not it.flags & FLAG_NEXT:
                return None
            index = it.link

    # Returning them.

    def push(self, chain: Chain, written_bytes: int) -> None:
        """Give a request back; ``written_bytes`` counts from the start of its writable part."""
        if not self.is_running:
            return
        element: UsedElement
        element.head, element.written_bytes = chain.head, written_bytes
        memcpy(self._used + 4 + 8 * (self.next_used % self.size), cython.address(element), 8)
        self.next_used += 1
        shared_store(self._used + 2, self.next_used)
        self._used_dirtied()

    @cython.cfunc
    def _used_dirtied(self) -> cython.void:
        self.memory.dirtied(self.used_gpa, 6 + 8 * self.size)

    def signal(self) -> None:
        """Interrupt the driver if it wants to know of what was pushed since the last time."""
        if not self.is_running or self.signalled == self.next_used:
            return
        pushed: uint16_t = self.next_used - self.signalled
        self.signalled = self.next_used
        full_barrier()
        if self.has_event_idx:
            event: uint16_t = shared_load(self._available + 4 + 2 * self.size)
            # Did we just pass the entry it waits for? (section 2.7.10.1)
            since: uint16_t = self.next_used - event - 1
            is_wanted = since < pushed
        else:
            is_wanted = not shared_load(self._available) & FLAG_NO_INTERRUPT
        if is_wanted:
            self.events.interrupt()

    # State.

    def save(self) -> dict[str, int]:
        return {"is_running": self.is_running} | {name: getattr(self, name) for name in _SAVED}

    def restore(self, record: dict[str, Any]) -> None:
        for name in _SAVED:
            setattr(self, name, record[name])
        self.is_running = record["is_running"]
        if self.is_running:
            self._map()
