"""Translations come and go: eviction, reset, and guest memory that is written from outside."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, STACK0, Rig
from twins import DATA, Start, Twins, counter, engine_rig

FRAME, FIRST_PAGE, PAGES = 0x70000, 0x80000, 320
#: add rax,[rbx]; and what makes a page of it return
STEP, RETURN = b"\x48\x03\x03", b"\xc3"
#: regions in the ring, and rounds that fill more than these
REGIONS, ROUND_LIMIT = 16, 60


def test_eviction() -> None:
    """One frame of code at many addresses, changed after each round: more than all regions hold."""
    rig = engine_rig("translate", "long")
    for page in range(PAGES):
        rig.set_page(FIRST_PAGE + (page << 12), FRAME | 7)
    rig.memory.write(DATA, struct.pack("<Q", 1))
    count = 4096 // 4
    # turn: call r8; add r8,0x1000; dec ecx; jnz turn; hlt
    code = bytes.fromhex("41ffd04981c000100000ffc975f2f4")
    body = (STEP + b"\x90") * (count - 1)
    for done in range(ROUND_LIMIT):
        # somewhere else each time
        at = 4 * (done * 37 % (count - 1))
        rig.memory.write(
            FRAME, (body[:at] + b"\x48\xff\xc0\x90" + body[at + 4 :] + RETURN).ljust(4096, b"\xf4")
        )
        rig.load(code)
        regs = rig.regs
        regs.rax, regs.rbx, regs.rcx, regs.r8, regs.rsp = 0, DATA, PAGES, FIRST_PAGE, STACK0
        rig.go_on()
        assert rig.vector is None and rig.regs.rip == CODE + len(code)
        assert rig.regs.rax == PAGES * (count - 1)
        if counter(rig, "translation_regions_evicted") > REGIONS:
            break
    assert counter(rig, "translation_regions_evicted") > REGIONS


@pytest.mark.parametrize("mode", ["long", "protected"])
def test_reset(mode: str) -> None:
    """Power on again: the same code runs, and other code at the same place too."""
    rig = engine_rig("translate", mode)
    fresh = Start(rig)
    for value in (1, 2, 2):
        rig.cpu.reset()
        assert rig.regs.rip == 0xFFF0 and rig.cpu.segment("cs")[1] == 0xFFFF0000
        fresh.rewind()
        # mov ecx,100; turn: add eax,value; dec ecx; jnz turn; hlt
        rig.regs.rax = 0
        rig.run(f"b96400000083c0{value:02x}ffc975f9f4")
        assert rig.regs.rax == 100 * value
    assert counter(rig, "translations") > 2


def test_a_device_writes_warm_code() -> None:
    """Each byte of a loop's constant in turn, between two runs."""
    twins = Twins()
    # turn: add rax,0x01010101; dec ecx; jnz turn; hlt
    code = "480501010101ffc975f6f4"
    assert twins.run(code, rax=0, rcx=100).regs.rax == 100 * 0x01010101
    for k in range(4):
        for rig in (twins.interpreting, twins.translating):
            start = Start(rig)
            rig.memory.write(CODE + 2 + k, b"\x02")
            start.rig.cpu.restore(start.record[:4] + bytes(4) + start.record[8:])
            rig.regs.rip, rig.regs.rax, rig.regs.rcx = CODE, 0, 100
        rig = twins.compare(Rig.go_on)
        assert rig.regs.rax == 100 * int.from_bytes(rig.memory.read(CODE + 2, 4), "little")


def test_a_device_writes_beside_warm_code() -> None:
    """On the same page, but no instruction: nothing is translated anew."""
    rig = engine_rig("translate", "long")
    rig.run("b96400000048ffc0ffc975f9f4")
    before = counter(rig, "translations")
    rig.memory.write(CODE + 0x800, b"\x12" * 64)
    record = rig.cpu.save()
    rig.cpu.restore(record[:4] + bytes(4) + record[8:])
    rig.regs.rip = CODE
    rig.go_on()
    assert counter(rig, "translations") == before
