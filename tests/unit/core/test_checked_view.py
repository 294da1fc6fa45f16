"""Accesses that are checked one by one: data breakpoints and alignment checks.

Their view of the TLB is never filled. It must not be anything else either: no guest address
may become a host address through it.
"""

from __future__ import annotations

import struct

import pytest
from rig import CODE, Rig

AC_VECTOR, DB = 17, 1
AM, AC = 1 << 18, 1 << 18
PAGES = range(0x50000, 0x90000, 0x1000)


@pytest.fixture
def rig() -> Rig:
    return Rig("long")


def test_every_page_reads_and_writes_true_under_a_breakpoint(rig: Rig) -> None:
    """Loads from, then stores to, 64 pages and the page of the code itself, a breakpoint elsewhere."""
    rig.regs.dr0, rig.regs.dr7 = 0x10_0000, 0x401 | 3 << 16 | 3 << 18
    for page in PAGES:
        rig.memory.write(page, struct.pack("<Q", page * 3))
    # lodsq; mov [rsi-8+0x100], rax; add rsi, 0xff8; loop
    rig.regs.rsi, rig.regs.rcx = PAGES.start, len(PAGES)
    rig.run("48ad 488986f8000000 4881c6f80f0000 e2ee f4")
    assert rig.vector is None and rig.regs.rcx == 0
    for page in PAGES:
        assert rig.memory.read(page + 0x100, 8) == struct.pack("<Q", page * 3)
    rig.regs.rbx = CODE
    rig.run("488b03 48898300080000 f4")
    assert rig.regs.rax == int.from_bytes(rig.memory.read(CODE, 8), "little")
    assert rig.memory.read(CODE + 0x800, 8) == rig.memory.read(CODE, 8)


def test_jumps_do_not_become_addresses(rig: Rig) -> None:
    """Code on 64 pages, all of it in the jump cache, then written through a checked view."""
    for page in PAGES:
        rig.memory.write(page, bytes.fromhex("ff c3 c3"))
    rig.regs.rdi, rig.regs.rcx = PAGES.start, len(PAGES)
    loop = "ffd7 4881c700100000 e2f5 f4"
    rig.run(loop)
    assert rig.regs.rbx == len(PAGES)
    rig.regs.dr0, rig.regs.dr7 = 0x10_0000, 0x401 | 3 << 16
    rig.regs.rdi, rig.regs.rcx, rig.regs.rax = PAGES.start, len(PAGES), 0xC3C3C3
    rig.run("8907 4881c700100000 e2f5 f4")
    for page in PAGES:
        assert rig.memory.read(page, 4) == bytes.fromhex("c3c3c300")


@pytest.mark.parametrize("code", ["8b4301", "894301", "ff4301", "f0014301"])
def test_a_misaligned_access_in_ring_3_faults_when_asked(rig: Rig, code: str) -> None:
    rig.regs.cr0 |= AM
    rig.set_ring(3)
    rig.regs.rbx, rig.regs.rflags = 0x50000, AC | 2
    rig.run(code + "f4")
    assert rig.vector == AC_VECTOR
    assert rig.stack(2) == [0, CODE]


def test_an_aligned_access_in_ring_3_does_not(rig: Rig) -> None:
    rig.regs.cr0 |= AM
    rig.set_ring(3)
    rig.memory.write(0x50004, b"\x78\x56\x34\x12")
    rig.regs.rbx, rig.regs.rflags = 0x50000, AC | 2
    rig.run("8b4304 89430c cc")
    assert rig.vector != AC_VECTOR
    assert rig.regs.rax == 0x12345678 and rig.memory.read(0x5000C, 4) == b"\x78\x56\x34\x12"
