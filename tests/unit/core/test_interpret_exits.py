"""Exits from the middle of an instruction and their replay: MMIO and ports. The record's fields are KVM's.

The instruction is run again from its start when the answer is there, so nothing may have happened
the first time, and nothing may happen twice.
"""

from __future__ import annotations

import struct

import pytest
from rig import CODE, Rig

from ringfence.core.exits import Reason

#: no memory there: beyond the rig's 4 MiB, mapped by a large page
MMIO = 0x0A00_0000
HLT = "f4"

Access = tuple[str, int, int, int]


@pytest.fixture
def rig() -> Rig:
    found = Rig("protected")
    found.regs.rbx = MMIO
    return found


def drive(rig: Rig, code: str, answers: list[int], limit: int = 100) -> list[Access]:
    """Run to HLT, answering reads in turn: the accesses as (what, address, size, data written or read)."""
    seen: list[Access] = []
    pending = list(answers)
    reason = rig.run(code + HLT)
    while reason in (Reason.MMIO, Reason.IO) and len(seen) < limit:
        record = rig.cpu.exit
        kind = ("mmio" if reason == Reason.MMIO else "io") + (" write" if record.is_write else " read")
        if not record.is_write:
            record.data = pending.pop(0)
        seen.append((kind, record.address, record.size, record.data))
        reason = rig.go_on()
    assert reason == Reason.HLT and not pending
    return seen


@pytest.mark.parametrize(
    ("code", "size", "value", "rax"),
    [
        ("8a03", 1, 0x7F, 0xFFFFFF7F), ("668b03", 2, 0x1234, 0xFFFF1234), ("8b03", 4, 0x89ABCDEF, 0x89ABCDEF),
        ("0fb603", 1, 0x80, 0x80), ("0fbe03", 1, 0x80, 0xFFFFFF80), ("0fbf03", 2, 0x8000, 0xFFFF8000),
        ("2b03", 4, 1, 0xFFFFFFFE), ("0faf03", 4, 3, 0xFFFFFFFD),
    ],
)  # fmt: skip
def test_read(rig: Rig, code: str, size: int, value: int, rax: int) -> None:
    rig.regs.rax = 0xFFFFFFFF
    assert drive(rig, code, [value]) == [("mmio read", MMIO, size, value)]
    assert rig.regs.rax == rax


@pytest.mark.parametrize(
    ("code", "size", "value"),
    [("8803", 1, 0x44), ("668903", 2, 0x3344), ("8903", 4, 0x11223344), ("c70378563412", 4, 0x12345678)],
)
def test_write(rig: Rig, code: str, size: int, value: int) -> None:
    rig.regs.rax = 0x11223344
    assert drive(rig, code, []) == [("mmio write", MMIO, size, value)]


@pytest.mark.parametrize(
    ("code", "read", "written"),
    [
        ("830305", 10, 15), ("f00103", 10, 0x1000A), ("ff03", 0xFFFFFFFF, 0), ("f713", 0xF0, 0xFFFFFF0F),
        ("c12304", 0x12345678, 0x23456780), ("0fba2b04", 0, 16), ("8703", 77, 0x10000),
        ("0fc103", 7, 0x10007),
    ],
)  # fmt: skip
def test_read_modify_write_is_one_of_each(rig: Rig, code: str, read: int, written: int) -> None:
    rig.regs.rax = 0x10000
    assert drive(rig, code, [read]) == [("mmio read", MMIO, 4, read), ("mmio write", MMIO, 4, written)]


def test_flags_of_a_read_modify_write_are_set_once(rig: Rig) -> None:
    """ADC with a carry in: run twice, it would add its own carry."""
    rig.regs.rax = 0
    drive(rig, "f9" + "1103" + "0f92c0" + "1103", [0xFFFFFFFF, 5])  # stc; adc [rbx], eax; setc al; adc
    assert rig.regs.rax == 1 and not rig.regs.rflags & 1


def test_cmpxchg(rig: Rig) -> None:
    rig.regs.rax, rig.regs.rcx = 5, 9
    assert drive(rig, "f00fb10b", [5]) == [("mmio read", MMIO, 4, 5), ("mmio write", MMIO, 4, 9)]
    assert rig.regs.rflags & 0x40 and rig.regs.rax == 5
    drive(rig, "f00fb10b", [6])
    assert not rig.regs.rflags & 0x40 and rig.regs.rax == 6


def test_push_from_and_pop_to_mmio(rig: Rig) -> None:
    esp = rig.regs.rsp
    assert drive(rig, "ff33" + "8f4304", [0x55667788]) == [
        ("mmio read", MMIO, 4, 0x55667788),
        ("mmio write", MMIO + 4, 4, 0x55667788),
    ]
    assert rig.regs.rsp == esp


def test_pusha_and_popa_on_mmio(rig: Rig) -> None:
    """Eight accesses of one instruction."""
    rig.regs.rsp, rig.regs.rax, rig.regs.rdi = MMIO + 0x40, 1, 8
    seen = drive(rig, "60" + "61", [80, 70, 60, 0, 40, 30, 20, 10])
    assert [access[0] for access in seen] == ["mmio write"] * 8 + ["mmio read"] * 8
    writes = {address: data for kind, address, _, data in seen if kind == "mmio write"}
    assert writes[MMIO + 0x3C] == 1 and writes[MMIO + 0x20] == 8 and writes[MMIO + 0x2C] == MMIO + 0x40
    assert (rig.regs.rdi, rig.regs.rax, rig.regs.rsp) == (80, 10, MMIO + 0x40)


def test_enter_on_mmio(rig: Rig) -> None:
    """Two levels: EBP, one pointer of the enclosing frame, and the new frame's."""
    rig.memory.write(0x4FFC, struct.pack("<I", 0x1234))
    rig.regs.rsp, rig.regs.rbp = MMIO + 0x40, 0x5000
    assert drive(rig, "c8100002", []) == [
        ("mmio write", MMIO + 0x3C, 4, 0x5000),
        ("mmio write", MMIO + 0x38, 4, 0x1234),
        ("mmio write", MMIO + 0x34, 4, MMIO + 0x3C),
    ]
    assert (rig.regs.rbp, rig.regs.rsp) == (MMIO + 0x3C, MMIO + 0x24)


def test_rep_movs_to_mmio(rig: Rig) -> None:
    rig.memory.write(0x5000, struct.pack("<4I", 1, 2, 3, 4))
    rig.regs.rsi, rig.regs.rdi, rig.regs.rcx = 0x5000, MMIO, 4
    assert drive(rig, "f3a5", []) == [("mmio write", MMIO + 4 * k, 4, k + 1) for k in range(4)]
    assert (rig.regs.rsi, rig.regs.rdi, rig.regs.rcx) == (0x5010, MMIO + 16, 0)


def test_rep_movs_from_mmio_backwards(rig: Rig) -> None:
    rig.regs.rsi, rig.regs.rdi, rig.regs.rcx = MMIO + 8, 0x5008, 3
    assert [address for _, address, *_ in drive(rig, "fdf3a5", [3, 2, 1])] == [MMIO + 8, MMIO + 4, MMIO]
    assert rig.memory.read(0x5000, 12) == struct.pack("<3I", 1, 2, 3)
    assert (rig.regs.rsi, rig.regs.rdi, rig.regs.rcx) == (MMIO - 4, 0x4FFC, 0)


def test_repe_cmps_stops_at_a_difference(rig: Rig) -> None:
    rig.memory.write(0x5000, b"\1\2\3\4")
    rig.regs.rsi, rig.regs.rdi, rig.regs.rcx = 0x5000, MMIO, 4
    assert len(drive(rig, "f3a6", [1, 2, 9])) == 3
    assert rig.regs.rcx == 1 and not rig.regs.rflags & 0x40


def test_mmio_to_mmio(rig: Rig) -> None:
    rig.regs.rsi, rig.regs.rdi, rig.regs.rcx = MMIO, MMIO + 0x100, 2
    assert drive(rig, "f3a4", [7, 8]) == [
        ("mmio read", MMIO, 1, 7), ("mmio write", MMIO + 0x100, 1, 7),
        ("mmio read", MMIO + 1, 1, 8), ("mmio write", MMIO + 0x101, 1, 8),
    ]  # fmt: skip


def test_an_operand_half_in_ram(rig: Rig) -> None:
    """Across the end of RAM: the bytes beyond are the bus's."""
    top = 4 << 20
    rig.memory.write(top - 2, b"\x34\x12")
    rig.regs.rbx = top - 2
    seen = drive(rig, "8b03", [0x78, 0x56])
    assert rig.regs.rax == 0x5678_1234
    assert seen == [("mmio read", top, 1, 0x78), ("mmio read", top + 1, 1, 0x56)]


@pytest.mark.parametrize(
    ("code", "expected", "rax"),
    [
        ("e460", ("io read", 0x60, 1, 0xAB), 0xFFFFFFAB),
        ("66e560", ("io read", 0x60, 2, 0xABCD), 0xFFFFABCD),
        ("ed", ("io read", 0x3F8, 4, 0x12345678), 0x12345678),
        ("ee", ("io write", 0x3F8, 1, 0xFF), 0xFFFFFFFF),
        ("66ef", ("io write", 0x3F8, 2, 0xFFFF), 0xFFFFFFFF),
        ("e770", ("io write", 0x70, 4, 0xFFFFFFFF), 0xFFFFFFFF),
    ],
)
def test_ports(rig: Rig, code: str, expected: Access, rax: int) -> None:
    rig.regs.rax, rig.regs.rdx = 0xFFFFFFFF, 0x3F8
    answers = [expected[3]] if "read" in expected[0] else []
    assert drive(rig, code, answers) == [expected]
    assert rig.regs.rax == rax


def test_rep_ins(rig: Rig) -> None:
    rig.regs.rdx, rig.regs.rdi, rig.regs.rcx = 0x1F0, 0x5000, 3
    assert drive(rig, "f3666d", [1, 2, 3]) == [("io read", 0x1F0, 2, k + 1) for k in range(3)]
    assert rig.memory.read(0x5000, 6) == b"\1\0\2\0\3\0"
    assert (rig.regs.rdi, rig.regs.rcx) == (0x5006, 0)


def test_rep_outs(rig: Rig) -> None:
    rig.memory.write(0x5000, b"abc")
    rig.regs.rdx, rig.regs.rsi, rig.regs.rcx = 0xE9, 0x5000, 3
    assert drive(rig, "f36e", []) == [("io write", 0xE9, 1, byte) for byte in b"abc"]
    assert rig.regs.rcx == 0


def test_ins_to_mmio(rig: Rig) -> None:
    rig.regs.rdx, rig.regs.rdi = 0x60, MMIO
    assert drive(rig, "6c", [0x42]) == [("io read", 0x60, 1, 0x42), ("mmio write", MMIO, 1, 0x42)]


def test_ins_to_a_page_that_faults_reads_no_port(rig: Rig) -> None:
    """The fault comes first: a port's value must not be lost."""
    rig.cpu.set_segment("es", 0x10, 0, 0xFFF, 0x93)
    rig.regs.rdx, rig.regs.rdi = 0x60, 0x2000
    assert rig.run("6c" + HLT) == Reason.HLT and rig.vector == 13


def test_rom_ignores_writes_and_raises_no_exit(rig: Rig) -> None:
    rig.memory.add_rom(0x0B00_0000, b"\x11" * 4096)
    rig.regs.rbx = 0x0B00_0000
    assert drive(rig, "c60355" + "8a03", []) == []
    assert rig.regs.rax & 0xFF == 0x11 and rig.memory.read(0x0B00_0000, 1) == b"\x11"


def test_fetching_from_nowhere_ends(rig: Rig) -> None:
    """Code outside memory: whatever becomes of it, `run` comes back."""
    rig.regs.rbx = MMIO
    assert rig.run("ffe3") in (Reason.FAIL, Reason.SHUTDOWN, Reason.MMIO, Reason.HLT)


def test_an_interrupt_waits_for_the_replay(rig: Rig) -> None:
    """Injected while the VMM answers a read: delivered after the instruction, not in its middle."""
    rig.regs.rflags |= 0x200
    assert rig.run("8b03" + HLT) == Reason.MMIO
    assert not rig.cpu.is_interruptible
    rig.cpu.nmi()
    rig.cpu.exit.data = 0x1234
    assert rig.go_on() == Reason.HLT
    assert rig.vector == 2 and rig.regs.rax == 0x1234
    assert rig.stack(1)[0] == CODE + 2
