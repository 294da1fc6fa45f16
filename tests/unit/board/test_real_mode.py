"""The interrupt vectors that a BIOS leaves: whatever comes, real-mode code goes on."""

from __future__ import annotations

import struct

import pytest

from ringfence.board import real_mode
from ringfence.core.exits import Reason
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu

CODE, STACK, TICKS = 0x7C00, 0x7000, 0x46C


@pytest.mark.parametrize(
    ("vector", "ends"),
    [(0x08, [0x20]), (0x09, [0x20]), (0x0F, [0x20]), (0x70, [0xA0, 0x20]), (0x77, [0xA0, 0x20]), (0x11, [])],
)
def test_a_handler_ends_its_interrupt_and_comes_back(vector: int, ends: list[int]) -> None:
    memory = GuestMemory()
    memory.add_ram(0, 1 << 20)
    real_mode.write(memory)
    memory.write(CODE, bytes([0xCD, vector, 0xF4]))  # int vector; hlt
    cpu = Vcpu(0, memory, "pentium")
    for name in ("cs", "ds", "es", "ss"):
        cpu.set_segment(name, 0, 0, 0xFFFF, 0x9B if name == "cs" else 0x93)
    cpu.regs.rip, cpu.regs.rsp, cpu.regs.rax = CODE, STACK, 0x1234
    ports = []
    while (reason := Reason(cpu.run())) is Reason.IO:
        assert cpu.exit.data == 0x20, "a non-specific end of interrupt"
        ports.append(cpu.exit.address)
    assert reason is Reason.HLT and ports == ends
    assert (cpu.regs.rip, cpu.regs.rsp, cpu.regs.rax) == (CODE + 3, STACK, 0x1234)
    assert struct.unpack("<I", memory.read(TICKS, 4))[0] == (1 if vector == 0x08 else 0)
