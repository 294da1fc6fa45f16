"""What a BIOS leaves to real-mode code: interrupt vectors, and handlers that only take their interrupt.

Vectors and addresses are those of the IBM PC/AT: hardware interrupts at 08h and 70h, the timer's handler
at F000:FEA5 counting at 0040:006C, and F000:FF53 for everything that nobody serves. There are no services.
"""

from __future__ import annotations

import struct

from ringfence.devices.dma import GuestMemory

SEGMENT = 0xF000
MASTER_VECTOR, SLAVE_VECTOR = 0x08, 0x70
_LINES = 8
_TIMER, _MASTER, _SLAVE, _NOBODY = 0xFEA5, 0xFF23, 0xFF30, 0xFF53
_HANDLERS = {
    # push ax; push ds; xor ax, ax; mov ds, ax; inc dword [046Ch]; int 1Ch
    # mov al, 20h; out 20h, al; pop ds; pop ax; iret
    _TIMER: bytes.fromhex("50 1e 31c0 8ed8 66ff066c04 cd1c b020 e620 1f 58 cf"),
    _MASTER: bytes.fromhex("50 b020 e620 58 cf"),
    _SLAVE: bytes.fromhex("50 b020 e6a0 e620 58 cf"),
    _NOBODY: bytes.fromhex("cf"),
}


def write(memory: GuestMemory) -> None:
    """The vectors and their handlers."""
    offsets = [_NOBODY] * 256
    offsets[MASTER_VECTOR : MASTER_VECTOR + _LINES] = [_TIMER] + [_MASTER] * (_LINES - 1)
    offsets[SLAVE_VECTOR : SLAVE_VECTOR + _LINES] = [_SLAVE] * _LINES
    memory.write(0, b"".join(struct.pack("<HH", offset, SEGMENT) for offset in offsets))
    for offset, code in _HANDLERS.items():
        memory.write((SEGMENT << 4) + offset, code)
