"""Message-signalled interrupts as a PC's processors decode them: Intel SDM vol. 3, 11.11."""

from __future__ import annotations

from typing import NamedTuple

ADDRESS = 0xFEE0_0000


class Message(NamedTuple):
    """The arguments of a delivery to the local APICs, in their order."""

    destination: int
    is_logical: bool
    delivery_mode: int
    vector: int
    is_level: bool


def decode(address: int, data: int) -> Message | None:
    """What a write of ``data`` to ``address`` asks for; None when it is no interrupt message."""
    if address >> 20 != ADDRESS >> 20:
        return None
    return Message(
        destination=address >> 12 & 0xFF,
        is_logical=bool(address & 1 << 2),
        delivery_mode=data >> 8 & 7,
        vector=data & 0xFF,
        is_level=bool(data & 1 << 15),
    )
