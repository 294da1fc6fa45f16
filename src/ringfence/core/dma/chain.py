"""A descriptor chain: one request, as pieces of guest RAM the device reads and pieces it writes.

Virtual I/O Device (VIRTIO) 1.2, section 2.7.4 (message framing): where a request is cut into
descriptors means nothing. So a device asks for bytes by their offset in the request's
device-readable or device-writable part, never for a descriptor.
"""

from typing import Any

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy, memmove
from cython.cimports.ringfence.core.dma.chain import (
    SEGMENTS_AT_HAND,
    SEGMENTS_MAX,
    Bytes,
    Range,
    RangeP,
    Segment,
    SegmentP,
)
from cython.cimports.ringfence.core.memory.guest_memory import GuestMemory
from cython.cimports.ringfence.core.memory.map import MemoryMap, Region, find_region


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ram_at(map: cython.pointer(MemoryMap), gpa: uint64_t, length: uint64_t) -> Bytes:
    """Where [gpa, gpa+length) is, if it lies in one region of RAM; else NULL."""
    region: cython.pointer(Region) = find_region(map, gpa)
    if region == cython.NULL or region.is_rom or length > region.size - (gpa - region.gpa):
        return cython.NULL
    # SAFETY: all of it is inside the region, and whoever asks keeps the memory
    return region.host + (gpa - region.gpa)


@cython.cclass
class Chain:
    """A request taken from a queue; give it back with `Virtqueue.push`."""

    def __cinit__(self, memory: GuestMemory, head: int) -> None:
        self._memory = memory
        self.head = head
        self.readable_bytes = self.writable_bytes = 0
        self._segments = self._at_hand
        self._room = SEGMENTS_AT_HAND

    def __dealloc__(self) -> None:
        if self._segments != self._at_hand:
            free(self._segments)

    @cython.cfunc
    @cython.exceptval(-1)
    def add(self, gpa: uint64_t, length: uint64_t, host: Bytes, is_writable: cython.bint) -> cython.bint:
        """One more descriptor's buffer, of `SEGMENTS_MAX` at most; first those that the device reads."""
        if self._count == self._room:
            segments: SegmentP = cython.cast(SegmentP, malloc(SEGMENTS_MAX * cython.sizeof(Segment)))
            if segments == cython.NULL:
                raise MemoryError
            memcpy(segments, self._segments, self._count * cython.sizeof(Segment))
            self._segments = segments
            self._room = SEGMENTS_MAX
        segment: SegmentP = cython.address(self._segments[self._count])
        segment.gpa, segment.length, segment.host = gpa, length, host
        self._count += 1
        if is_writable:
            self.writable_bytes += length
        else:
            self._readable = self._count
            self.readable_bytes += length
        return True

    def read(self, offset: int, n: int) -> bytes:
        """Up to ``n`` bytes of the device-readable part, copied once: the guest can't change them later."""
        range: Range = self._range(False, offset, n)
        result: bytes = PyBytes_FromStringAndSize(cython.NULL, range.left_bytes)
        to: Bytes = cython.cast(Bytes, PyBytes_AS_STRING(result))
        while advance(cython.address(range)):
            # SAFETY: `_range` left as many bytes as there are in the segments
            memcpy(to, range.host, range.size)
            to += range.size
        return result

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Copy into the device-writable part as far as it reaches; returns how many bytes."""
        buffer: cython.Py_buffer
        PyObject_GetBuffer(data, cython.address(buffer), PyBUF_SIMPLE)
        try:
            range: Range = self._range(True, offset, buffer.len)
            done: uint64_t = 0
            while advance(cython.address(range)):
                # the data may lie in guest RAM as well
                memmove(range.host, cython.cast(Bytes, buffer.buf) + done, range.size)
                self._memory.dirtied(range.gpa, range.size)
                done += range.size
            return done
        finally:
            PyBuffer_Release(cython.address(buffer))

    def readable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the device-readable part as an I/O vector."""
        return self._views(self._range(False, offset, n))

    def writable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the device-writable part as an I/O vector; call `dirtied` once it is filled."""
        return self._views(self._range(True, offset, n))

    def dirtied(self, offset: int, n: int) -> None:
        range: Range = self._range(True, offset, n)
        while advance(cython.address(range)):
            self._memory.dirtied(range.gpa, range.size)

    @cython.cfunc
    def _range(self, is_writable: cython.bint, offset: Any, n: Any) -> Range:
        """As much of the bytes [offset, offset+n) as there is."""
        range: Range
        total: uint64_t = self.writable_bytes if is_writable else self.readable_bytes
        range.next = self._segments + (self._readable if is_writable else 0)
        range.end = self._segments + (self._count if is_writable else self._readable)
        range.skip = range.left_bytes = 0
        if n > 0 and 0 <= offset < total:
            range.skip = offset
            range.left_bytes = min(n, total - range.skip)
        return range

    @cython.cfunc
    def _views(self, range: Range) -> list:
        views: list = []
        while advance(cython.address(range)):
            views.append(self._memory.view(range.gpa, range.size))
        return views


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def advance(range: RangeP) -> cython.bint:
    """The next piece of a range, if there is one."""
    while range.left_bytes and range.next < range.end:
        segment: SegmentP = range.next
        range.next += 1
        if range.skip >= segment.length:
            range.skip -= segment.length
            continue
        range.gpa = segment.gpa + range.skip
        range.host = segment.host + range.skip
        range.size = min(segment.length - range.skip, range.left_bytes)
        range.left_bytes -= range.size
        range.skip = 0
        return True
    return False
