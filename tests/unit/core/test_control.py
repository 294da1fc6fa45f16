"""Control registers, system tables, system flags, TLB and FS/GS instructions. SDM vol. 3, chapter 2."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE0, DATA0, TABLES, Rig

from ringfence.core.exits import Reason

GP, UD, PF = 13, 6, 14
PG, PE, NW, CD, WP = 0x80000000, 1, 1 << 29, 1 << 30, 1 << 16


def write_cr(rig: Rig, number: int, value: int) -> int | None:
    rig.regs.rax = value
    code = bytes([0x0F, 0x22, 0xC0 | (number & 7) << 3, 0xF4])
    rig.run((b"\x44" if number > 7 else b"") + code)
    return rig.vector


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        (PG, True), (NW | PE, True), (NW | CD | PE, False), (1 << 32 | PE, False), (0x60000011, False),
        (PE | 0xFFC0, False),
    ],
)  # fmt: skip
def test_cr0_combinations(value: int, faults: bool) -> None:
    rig = Rig("protected")
    assert write_cr(rig, 0, value) == (GP if faults else None)
    if not faults:
        assert rig.regs.cr0 == (value & 0xE005003F) | 0x10


def test_cr0_in_long_mode() -> None:
    rig = Rig("long")
    assert write_cr(rig, 0, 1 << 32 | PG | PE) == GP
    assert write_cr(rig, 0, PE) == GP, "paging off in 64-bit code"
    assert write_cr(rig, 0, PG | PE | WP) is None and rig.regs.efer & 0x400


def test_into_long_mode() -> None:
    """The way a boot loader goes, from 32-bit code."""
    rig = Rig("protected")
    source = Rig("long")
    rig.memory.write(TABLES, source.memory.read(TABLES, 0x4000))
    rig.memory.write(0x1000 + 0x48, source.memory.read(0x1000 + 8, 8))
    rig.memory.write(0xA000, bytes.fromhex("4c89c0 f4"))  # mov rax, r8
    rig.regs.r8 = 1 << 63
    rig.regs.cr3, rig.regs.efer = TABLES, 0x100
    assert write_cr(rig, 0, PG | PE) == GP, "PAE is needed"
    rig.regs.cr4 = 0x20
    rig.regs.rax = PG | PE
    rig.run("0f22c0 ea 00a00000 4800")
    assert rig.regs.efer == 0x500 and rig.cpu.segment("cs")[0] == 0x48
    assert rig.regs.rip == 0xA004 and rig.regs.rax == 1 << 63


@pytest.mark.parametrize(("value", "faults"), [(1 << 40, True), (TABLES | 0x18, False), (1 << 63, True)])
def test_cr3_reserved_bits(value: int, faults: bool) -> None:
    assert write_cr(Rig("long"), 3, value) == (GP if faults else None)


@pytest.mark.parametrize(
    ("value", "faults"),
    [(0x20, False), (0, True), (0x20 | 1 << 12, True), (0x20 | 1 << 23, True), (0x3706A8, False)],
)
def test_cr4_in_long_mode(value: int, faults: bool) -> None:
    rig = Rig("long")
    assert write_cr(rig, 4, value) == (GP if faults else None)


def test_cr4_follows_the_model() -> None:
    assert write_cr(Rig("protected", "pentium"), 4, 0x20) == GP, "no PAE"
    assert write_cr(Rig("protected", "pentium"), 4, 0x1F) is None
    assert write_cr(Rig("protected", "x86-64"), 4, 1 << 20) == GP, "no SMEP"


def test_pcid_needs_long_mode_and_a_clean_cr3() -> None:
    rig = Rig("long")
    rig.regs.cr3 = TABLES | 8
    assert write_cr(rig, 4, 0x20020) == GP
    rig.regs.cr3 = TABLES
    assert write_cr(rig, 4, 0x20020) is None
    assert write_cr(rig, 3, 1 << 63 | TABLES | 5) is None
    assert rig.regs.cr3 == TABLES | 5
    assert write_cr(Rig("protected"), 4, 0x20000) == GP


def test_pae_checks_its_directory_pointers() -> None:
    rig = Rig("protected")
    rig.memory.write(0x50000, struct.pack("<4Q", 0x51001, 0, 0, 0))
    rig.memory.write(0x51000, struct.pack("<2Q", 0x83, 0x200083))
    rig.regs.cr4, rig.regs.cr3 = 0x20, 0x50000
    rig.regs.rax = PG | PE
    rig.run("0f22c0 f4")
    assert rig.vector is None and rig.regs.cr0 & PG
    rig.memory.write(0x50020, struct.pack("<4Q", 0x51003, 0, 0, 0))
    assert write_cr(rig, 3, 0x50020) == GP, "a reserved bit is set"
    assert rig.regs.cr3 == 0x50000


def test_cr8_is_the_task_priority() -> None:
    rig = Rig("long")
    assert write_cr(rig, 8, 9) is None and rig.regs.cr8 == 9
    assert write_cr(rig, 8, 16) == GP
    rig.run("440f20c1 f4")
    assert rig.regs.rcx == 9


@pytest.mark.parametrize("number", [1, 5, 6, 7])
def test_no_such_control_register(number: int) -> None:
    assert write_cr(Rig("long"), number, 0) == UD


@pytest.mark.parametrize(
    "code",
    ["0f22c0", "0f20c0", "0f23c0", "0f21c0", "0f06", "0f01f0", "0f011500000500", "0f011d00000500", "0f00d0",
     "0f00d8", "f4", "0f01f8", "0f0138", "0f08", "0f09", "0f30", "0f32", "0f33", "0f07", "0f35",
     "660f38820500000000", "fa", "fb"],
)  # fmt: skip
def test_privileged(code: str) -> None:
    rig = Rig("long")
    rig.set_ring(3)
    rig.regs.rbx = rig.regs.rax = 0x50000
    rig.run(code)
    assert rig.vector == GP and rig.stack(2) == [0, CODE]


@pytest.mark.parametrize("code", ["0f01ca", "0f01cb", "0f01c8", "0f01c9", "0faa"])
def test_undefined_in_ring_3(code: str) -> None:
    rig = Rig("long")
    rig.set_ring(3)
    rig.run(code)
    assert rig.vector == UD


def test_lmsw_sets_pe_but_does_not_clear_it() -> None:
    rig = Rig("real")
    rig.regs.rax = 0xF
    rig.run("0f01f0 f4")
    assert rig.regs.cr0 & 0x1F == 0x1F
    rig = Rig("protected")
    rig.regs.rax = 0
    rig.run("0f01f0 f4")
    assert rig.regs.cr0 & 0xF == 1


def test_smsw_and_clts() -> None:
    rig = Rig("long")
    rig.regs.cr0 = 0x8001001B
    rig.run("0f06 480f01e0 660f01e3 f4")
    assert rig.regs.rax == 0x80010013 and rig.regs.rbx & 0xFFFF == 0x0013


# -- tables --


def test_lgdt_and_sgdt() -> None:
    rig = Rig("long")
    rig.memory.write(0x50000, struct.pack("<HQ", 0x123, 0xFFFF800012345678))
    rig.run("0f01142500000500 0f01042500100500 f4")
    assert rig.cpu.gdtr == (0xFFFF800012345678, 0x123)
    assert rig.memory.read(0x51000, 10) == rig.memory.read(0x50000, 10)


def test_lidt_refuses_a_non_canonical_base() -> None:
    rig = Rig("long")
    rig.memory.write(0x50000, struct.pack("<HQ", 0xFFF, 1 << 60))
    old = rig.cpu.idtr
    rig.run("0f011c2500000500")
    assert rig.vector == GP and rig.cpu.idtr == old


def test_16_bit_lgdt_takes_24_bits() -> None:
    rig = Rig("real")
    rig.memory.write(0x5000, struct.pack("<HI", 0xFF, 0x12345678))
    rig.run("0f01160050 660f011e0050 f4")
    assert rig.cpu.gdtr == (0x345678, 0xFF) and rig.cpu.idtr == (0x12345678, 0xFF)


@pytest.mark.parametrize("code", ["0f0103", "0f010b", "0f00c0", "0f00c8", "0f01e0"])
def test_umip(code: str) -> None:
    rig = Rig("long")
    rig.regs.rbx = 0x50000
    rig.set_ring(3)
    rig.run(code + "0f0b")
    assert rig.vector == UD
    rig.regs.cr4 = 0x820
    rig.set_ring(3)
    rig.run(code + "0f0b")
    assert rig.vector == GP


# -- flags --


def test_popf_by_privilege() -> None:
    rig = Rig("long")
    rig.regs.rax = 0x3F7FD7 | 0x100 * 0
    rig.regs.rax &= ~0x100
    rig.run("50 9d f4")
    assert rig.regs.rflags == 0x247ED7, "RF, VM, VIF and VIP are not POPF's"
    rig.regs.rflags = 2
    rig.set_ring(3)
    rig.set_idt(0x40, 0xEE)
    rig.run("50 9d cd40")
    assert rig.stack(3)[2] == 0x244CD7, "nor IF and IOPL in ring 3"


def test_popf_16_keeps_the_upper_half() -> None:
    rig = Rig("protected")
    rig.regs.rflags = 0x240002
    rig.run("666a01 669d f4")
    assert rig.regs.rflags == 0x240003


def test_cli_sti_with_iopl() -> None:
    rig = Rig("protected")
    rig.set_ring(3)
    rig.set_idt(0x40, 0xEF)
    rig.regs.rflags = 0x3002
    rig.run("fb cd40")
    assert rig.vector == 0x40 and rig.stack(3)[2] & 0x200


# -- TLB --


def test_invlpg_and_a_stale_entry() -> None:
    rig = Rig("long")
    rig.memory.write(0x100000, b"old")
    rig.memory.write(0x101000, b"new")
    entry = TABLES + 0x3000 + 8 * 0x100
    # mov eax, [100000h]; entry of 100h = 101h; mov ecx, [..]; invlpg; mov edx, [..]
    read = "8b{}2500001000"
    rig.run(
        read.format("04")
        + "c704 25".replace(" ", "")
        + entry.to_bytes(4, "little").hex()
        + "03101000"
        + "0f013c2500001000"
        + read.format("14")
        + "f4"
    )
    assert rig.regs.rax & 0xFFFFFF == int.from_bytes(b"old", "little")
    assert rig.regs.rdx & 0xFFFFFF == int.from_bytes(b"new", "little")


@pytest.mark.parametrize(
    ("kind", "pcid", "la", "faults"),
    [(0, 0, 0x1000, False), (0, 0, 1 << 60, True), (0, 1, 0, True), (1, 0, 0, False), (1, 5, 0, True),
     (2, 5, 1 << 60, False), (3, 0, 0, False), (4, 0, 0, True), (2, 0x1000, 0, True)],
)  # fmt: skip
def test_invpcid(kind: int, pcid: int, la: int, faults: bool) -> None:
    rig = Rig("long")
    rig.memory.write(0x50000, struct.pack("<QQ", pcid, la))
    rig.regs.rax, rig.regs.rbx = kind, 0x50000
    rig.run("660f388203 f4")
    assert rig.vector == (GP if faults else None)


# -- FS and GS, hypercalls, halt --


def test_fsgsbase() -> None:
    rig = Rig("long")
    rig.regs.rax = 0x123456789ABC
    rig.run("f3480faed0 f4")
    assert rig.vector == UD, "CR4.FSGSBASE"
    rig.regs.cr4 = 0x10020
    rig.run("f3480faed0 f3480faec1 f30faec2 f4")
    assert rig.regs.rcx == 0x123456789ABC and rig.regs.rdx == 0x56789ABC
    rig.regs.rax = 1 << 50
    rig.run("f3480faed8")
    assert rig.vector == GP


def test_hypercall_is_not_known() -> None:
    rig = Rig("long")
    rig.run("0f01c1 f4")
    assert rig.regs.rax == 2**64 - 1000


def test_hlt() -> None:
    rig = Rig("long")
    assert rig.run("90 f4 90") == Reason.HLT
    assert rig.regs.rip == CODE + 2
    assert rig.go_on() == Reason.HLT, "until something wakes it"
    assert rig.cpu.segment("cs")[0] == CODE0 and rig.cpu.segment("ss")[0] == DATA0


@pytest.mark.parametrize("modrm", ["00", "40", "84", "c0"])
def test_control_and_debug_moves_ignore_the_mod_field(modrm: str) -> None:
    """The operand is a register whatever it says, and no displacement follows."""
    rig = Rig("protected")
    rig.run(f"0f20{modrm} f4")
    assert rig.vector is None and rig.regs.rip == CODE + 4
    rig.run(f"0f21{modrm} f4")
    assert rig.vector is None and rig.regs.rip == CODE + 4
