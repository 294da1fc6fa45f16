"""ENTER: SDM vol. 2. The operand's size decides how much of the frame pointer there is, not the stack's."""

from __future__ import annotations

import pytest
from rig import Rig

#: a 16-bit stack, whose pointer wraps from 0x10000 to 0xFFFC of the segment
STACK_16 = 0x93
LEVELS = 3


@pytest.mark.parametrize(
    ("prefix", "frame", "size"), [("", 0x1FFFC, 4), ("66", 0x5A5AFFFE, 2)], ids=["32-bit", "16-bit"]
)
def test_a_frame_on_a_16_bit_stack(prefix: str, frame: int, size: int) -> None:
    rig = Rig("protected")
    rig.cpu.set_segment("ss", 0x10, 0, 0xFFFF, STACK_16)
    rig.regs.rsp, rig.regs.rbp = 0x10000, 0x5A5A_FFEC
    old = [0x1111 * (k + 1) for k in range(LEVELS - 1)]
    for k, value in enumerate(old, start=1):
        rig.memory.write(0xFFEC - k * size, value.to_bytes(size, "little"))
    rig.run(f"{prefix}c80800{LEVELS:02x}f4")
    pushed = [0x5A5A_FFEC, *old, frame]
    assert rig.regs.rbp == frame
    assert rig.regs.rsp == 0x10000 + (-(len(pushed) * size + 8) & 0xFFFF)
    top = 0x10000 - len(pushed) * size
    slots = [rig.memory.read(top + k * size, size) for k in range(len(pushed))]
    assert [int.from_bytes(slot, "little") for slot in slots] == [
        value & (1 << 8 * size) - 1 for value in reversed(pushed)
    ]
