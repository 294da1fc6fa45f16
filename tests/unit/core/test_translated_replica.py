"""Translations copied: for another RIP, and for another run."""

from __future__ import annotations

import struct

import pytest
from rig import HLT, TABLES, Rig

PAGE, ALIAS = 0x10000, 0x60000
#: from the code: its operand
DATA = 0x2300
TURNS = 64

#: everything that depends on where code runs
MOVING = (
    "488d1500010000"  # lea rdx, [rip + 0x100]
    "0305f3220000"  # add eax, [rip + 0x22f3]
    "e804000000"  # call over
    "eb06"  # jmp end
    "9090"
    "5a"  # over: pop rdx
    "ffe2"  # jmp rdx
    "90"
    "c3"  # end: ret
)


def run(rig: Rig, at: int) -> tuple[int, int]:
    rig.regs.rbx, rig.regs.rax = at, 0
    rig.run(f"b9{struct.pack('<I', TURNS).hex()}" + "ffd3" + "ffc9" + "75fa" + HLT.hex())
    return rig.regs.rax, rig.regs.rdx


@pytest.fixture
def rig() -> Rig:
    rig = Rig("long", engine="translate")
    rig.cpu.tune_translator(2)
    rig.memory.write(PAGE, bytes.fromhex(MOVING))
    rig.memory.write(PAGE + DATA, struct.pack("<I", 3))
    rig.memory.write(ALIAS + DATA, struct.pack("<I", 5))
    return rig


def test_for_another_rip(rig: Rig) -> None:
    """The page once more at another address: same code, other constants."""
    rig.memory.write(TABLES + 0x3000 + 8 * (ALIAS >> 12), struct.pack("<Q", PAGE | 7))
    assert run(rig, PAGE) == (3 * TURNS, PAGE + 18)
    assert run(rig, ALIAS) == (5 * TURNS, ALIAS + 18)
    assert run(rig, PAGE) == (3 * TURNS, PAGE + 18)
    assert rig.cpu.counters()["translations_replicated"] > 0


def test_for_another_run(rig: Rig) -> None:
    before = run(rig, PAGE)
    stored = rig.cpu.store_translations(1 << 20)
    other = Rig("long", engine="translate")
    other.cpu.tune_translator(2)
    other.memory.write(0, rig.memory.read(0, 0x200000))
    assert other.cpu.translation_key == rig.cpu.translation_key
    assert other.cpu.use_translations(stored)
    assert run(other, PAGE) == before
    counters = other.cpu.counters()
    assert counters["translations_from_store"] > 0
    assert counters["translations_from_store"] == counters["translations"]


def test_not_for_other_code(rig: Rig) -> None:
    run(rig, PAGE)
    other = Rig("long", engine="translate")
    other.cpu.tune_translator(2)
    other.memory.write(0, rig.memory.read(0, 0x200000))
    other.memory.write(PAGE + 3, b"\x40")
    assert other.cpu.use_translations(rig.cpu.store_translations(1 << 20))
    assert run(other, PAGE)[0] == run(rig, PAGE)[0]
    assert other.cpu.counters()["translations_from_store"] < other.cpu.counters()["translations"]


@pytest.mark.parametrize("cut", [1, 16, 63, 64, 200])
def test_refuses_what_is_cut(rig: Rig, cut: int) -> None:
    run(rig, PAGE)
    stored = rig.cpu.store_translations(1 << 20)
    assert not rig.cpu.use_translations(stored[:-cut])
    assert run(rig, PAGE)


def test_keeps_what_a_run_has_not_used_for_a_while(rig: Rig) -> None:
    run(rig, PAGE)
    stored = rig.cpu.store_translations(1 << 20)
    sizes = []
    for _ in range(12):
        other = Rig("long", engine="translate")
        other.cpu.tune_translator(2)
        assert other.cpu.use_translations(stored) or not stored
        stored = other.cpu.store_translations(1 << 20)
        sizes.append(len(stored))
    assert sizes[0] > 0 and sizes[-1] == 0
