"""What a device is: registers at offsets, an interrupt line, a backend. Nothing more.

A device does not know its address, its bus, its interrupt's number or the engine that runs the
guest. The board plugs it in. All guest-visible state is in the record that ``save`` returns.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

#: A device's saved state: plain data only (int, bool, str, bytes, lists and dicts of these).
Record = dict[str, Any]


@runtime_checkable
class Device(Protocol):
    """Registers that a bus dispatches to.

    ``offset`` counts from the device's own base; ``size_bytes`` is 1, 2, 4 or 8. A read
    returns an unsigned value that fits the size. Neither ever raises for what a guest did.
    """

    name: str

    def read(self, offset: int, size_bytes: int) -> int: ...

    def write(self, offset: int, size_bytes: int, value: int) -> None: ...

    def save(self) -> Record: ...

    def restore(self, record: Record) -> None: ...

    def reset(self) -> None: ...
