"""A capability: one entry of the linked list in a function's configuration space.

PCI Local Bus 3.0, section 6.7. Every entry starts with its id and the offset of the next one;
the rest, its body, belongs to whoever defined the id.
"""

from __future__ import annotations

HEADER_BYTES = 2


class Capability:
    """An id, a body and the bits of the body that the guest can write.

    ``registers`` becomes the entry's own window on the configuration space, header included,
    when `ConfigSpace.add_capability` gives it a place. A subclass that must act on an access
    overrides one of the two hooks; their ``offset`` counts from the entry's start.
    """

    def __init__(self, capability_id: int, body: bytes, writable: bytes = b"") -> None:
        self.id = capability_id
        self.body = body
        self.writable = writable.ljust(len(body), b"\0")
        self.registers = memoryview(bytearray(HEADER_BYTES + len(body)))

    def before_read(self, offset: int, size_bytes: int) -> None:
        """The guest is about to read bytes of this entry."""

    def after_write(self, offset: int, size_bytes: int) -> None:
        """The guest has written bytes of this entry."""
