"""Privileged and sensitive instructions as host code: what the interpreter does, in every ring.

Each is run by the interpreter, by code that has its quick case from the beginning, and by code whose
call-out is patched after the first turn.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import rig as rigs
from rig import CODE, DATA0, STACK0, STACK3, TSS_SEL
from translated_code import translating_rig

from ringfence.core.exits import Reason
from ringfence.inspection.verifier import verify

RINGS = (("long", 0), ("long", 3), ("protected", 0), ("protected", 1), ("protected", 3))
WAYS = ("interpret", "inline", "patched")
TURNS = 4
IF, DF = 1 << 9, 1 << 10
#: what an instruction leaves undefined, the tests overwrite or don't look at
REGISTERS = ("rax", "rbx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r10", "r11", "rip", "rflags", "cr2")

#: name -> code of 32 and 64 bits; after it AX is what it read
CASES = {
    "cli": "fa",
    "sti": "fb",
    "sti, cli": "fbfa",
    "cli, sti": "fafb",
    "pushf": "9c58",
    "pushf, popf": "9c9d",
    "pushf twice": "9c9c585b",
    "pushf16": "669c6658",
    "popf16": "6650669d",
    "mov eax, es": "8cc0",
    "mov eax, cs": "8cc8",
    "mov edx, ss": "8cd2",
    "mov ax, ds": "668cd8",
    "mov edi, gs": "8cef",
    "mov eax, cr0": "0f20c0",
    "mov eax, cr2": "0f20d0",
    "mov esi, cr3": "0f20de",
    "mov eax, cr4": "0f20e0",
    "mov eax, cr1": "0f20c8",
    "smsw eax": "0f01e0",
    "smsw ax": "660f01e0",
    "smsw [esp]": "500f01242458",
    "str edx": "0f00ca",
    "sldt eax": "0f00c0",
    "push eax, push esp, pop esp, pop eax": "50545c58",
}
LONG = {
    "mov r10, ss": "418cd2",
    "mov r11, cr3": "410f20db",
    "mov rax, cr8": "440f20c0",
    "smsw r10": "490f01e2",
    "smsw rbx": "480f01e3",
    "str r10d": "410f00ca",
    "swapgs": "0f01f8",
}
#: images for POPF: nothing, IF, DF, all arithmetic flags, what changes the mode or is reserved
IMAGES = (2, 0, 0x202, 0x402, 0x602, 0x8D7, 0xAD7, 0x3202, 0x4002, 0x40002, 0x200002, 0x102, 0x10002, 0x20002,
          0x180002, 0x8028, 0x7FFFFFFF)  # fmt: skip


def pop_image(image: int) -> str:
    """push image; popf"""
    return f"68{image.to_bytes(4, 'little').hex()}9d"


def turns_of(code: str) -> bytes:
    """again: add eax,ebx (flags to see); ``code``; loop again; hlt"""
    body = bytes.fromhex(f"01d8{code}")
    return body + b"\xe2" + (-len(body) - 2).to_bytes(1, "little", signed=True) + b"\xf4"


def outcome(way: str, mode: str, code: str, ring: int, iopl: int, **control: int) -> tuple[Any, int]:
    """Where it halts and with what, and how many call-outs were patched."""
    rig = rigs.Rig(mode, engine="interpret" if way == "interpret" else "translate")
    rig.cpu.tune_translator(1, has_exact_flags=True)
    rig.cpu.patch_after = 1 if way == "patched" else 0
    rig.set_ring(ring)
    for name, value in control.items():
        setattr(rig.regs, name, getattr(rig.regs, name) | value)
    rig.regs.rflags = 2 | iopl << 12
    rig.load(turns_of(code))
    rig.regs.rax, rig.regs.rbx, rig.regs.rcx = 0x7FFFFFF0, 0x40000008, TURNS
    reason = Reason(rig.cpu.run())
    stacks = [rig.memory.read(top - 64, 64) for top in (STACK0, STACK3)]
    segments = [rig.cpu.segment(name) for name in ("cs", "ss", "gs")]
    found = rig.cpu.translations()
    if found is not None:
        assert [str(violation) for violation in verify(found)] == []
    registers = {name: getattr(rig.regs, name) for name in REGISTERS}
    return (reason, rig.vector, registers, segments, stacks), rig.cpu.counters().get("patches", 0)


def compare(mode: str, code: str, ring: int, iopl: int, **control: int) -> dict[str, int]:
    """All ways come to the same; how many call-outs were patched in each."""
    found = {way: outcome(way, mode, code, ring, iopl, **control) for way in WAYS}
    for way in WAYS[1:]:
        assert found[way][0] == found["interpret"][0], way
    return {way: patches for way, (_, patches) in found.items()}


@pytest.mark.parametrize("iopl", [0, 3])
@pytest.mark.parametrize(("mode", "ring"), RINGS)
@pytest.mark.parametrize("name", [*CASES, *LONG])
def test_it_does_what_the_interpreter_does(name: str, mode: str, ring: int, iopl: int) -> None:
    if name in LONG and mode != "long":
        pytest.skip("64-bit code")
    compare(mode, CASES.get(name) or LONG[name], ring, iopl)


@pytest.mark.parametrize("iopl", [0, 3])
@pytest.mark.parametrize(("mode", "ring"), RINGS)
@pytest.mark.parametrize("image", IMAGES, ids=hex)
def test_popf(image: int, mode: str, ring: int, iopl: int) -> None:
    compare(mode, pop_image(image), ring, iopl)


@pytest.mark.parametrize("name", ["sldt eax", "str edx", "smsw eax", "cli", "sti", "pushf, popf"])
def test_umip_and_virtual_interrupts(name: str) -> None:
    """CR4.UMIP and CR4.PVI, in ring 3."""
    compare("protected", CASES[name], 3, 0, cr4=1 << 11 | 2)
    compare("long", CASES[name], 3, 0, cr4=1 << 11)


@pytest.mark.parametrize(
    ("name", "patches"),
    [("pushf", 1), ("sti, cli", 2), ("pushf, popf", 2), ("mov eax, cr0", 1), ("mov eax, es", 1),
     ("str edx", 1), ("swapgs", 1), ("mov r10, ss", 1), ("mov eax, cr1", 0), ("smsw ax", 0), ("pushf16", 0)],
)  # fmt: skip
def test_a_call_out_is_patched_once(name: str, patches: int) -> None:
    made = compare("long", CASES.get(name) or LONG[name], 0, 0)
    assert made == {"interpret": 0, "inline": 0, "patched": patches}


def test_a_patched_place_calls_out_no_more() -> None:
    rig = translating_rig()
    rig.cpu.patch_after = 3
    rig.load(turns_of(CASES["pushf"]))
    rig.regs.rcx = 50
    rig.go_on()
    row = next(row for row in rig.cpu.counters()["rows"].values() if row.get("patched"))
    assert row["emulated"] == 3 and row["patched"] == 1


def test_what_fits_stays_in_its_place() -> None:
    rig = translating_rig()
    rig.cpu.patch_after = 1
    rig.load(turns_of(LONG["mov r10, ss"] + CASES["pushf"]))
    rig.regs.rcx = 10
    rig.go_on()
    counters = rig.cpu.counters()
    assert (counters["patches"], counters["patches_in_place"]) == (2, 1)
    found = rig.cpu.translations()
    assert found is not None
    assert [len(block.patches) for block in found.blocks if block.patches] == [1]


def test_code_that_is_written_loses_its_patches() -> None:
    rig = translating_rig()
    rig.cpu.patch_after = 1
    for code in ("8cd0", "8cd8"):
        rig.load(turns_of(code))
        rig.regs.rcx = 10
        rig.cpu.set_segment("ds", 0x50, 0, 0xFFFFFFFF, 0xC093)
        rig.go_on()
    assert rig.regs.rax & 0xFFFF == 0x50


def test_a_fault_in_a_patch_is_the_instructions() -> None:
    """PUSHF to a page that goes away, after it was patched."""
    rig = translating_rig()
    rig.cpu.patch_after = 1
    rig.load(turns_of("9c58"))
    rig.regs.rcx = 10
    rig.go_on()
    rig.set_page(STACK3 - 0x1000, 0)
    rig.load(turns_of("9c58"))
    rig.regs.rcx, rig.regs.rsp, rig.regs.rax, rig.regs.rbx = 10, STACK3, 5, 6
    rig.set_idt(14, 0x8E, ist=1)
    rig.go_on()
    assert rig.vector == 14 and rig.regs.cr2 == STACK3 - 8
    assert rig.stack(5)[1] == CODE + 2 and rig.stack(5)[4] == STACK3
    assert rig.regs.rax == 11


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_waits_for_the_instruction_after_sti(way: str) -> None:
    rig = rigs.Rig("long", engine="interpret" if way == "interpret" else "translate")
    rig.cpu.tune_translator(1)
    rig.cpu.patch_after = 1 if way == "patched" else 0
    code = bytes.fromhex("fbffc0ffc0ffc0fae2f5f4")  # again: sti; inc eax three times; cli; loop again; hlt
    rig.load(code)
    rig.regs.rcx, rig.regs.rax, rig.regs.rflags = 5, 0, 2
    rig.go_on()
    assert rig.regs.rax == 15
    rig.load(code)
    rig.regs.rcx, rig.regs.rax, rig.regs.rflags = 5, 0, 2
    rig.cpu.inject(0x40)
    rig.go_on()
    assert rig.vector == 0x40 and rig.stack(1)[0] == CODE + 3 and rig.regs.rax == 1


@pytest.mark.parametrize("way", WAYS)
def test_nothing_interrupts_between_sti_and_what_follows(way: str) -> None:
    """Stop wherever the run loop can: right after STI no interrupt may be given in."""
    rig = rigs.Rig("long", engine="interpret" if way == "interpret" else "translate")
    rig.cpu.tune_translator(1, budget=0)
    rig.cpu.patch_after = 1 if way == "patched" else 0
    rig.load(bytes.fromhex("fafb90fab001e2f8f4"))  # again: cli; sti; nop; cli; mov al,1; loop again; hlt
    rig.regs.rcx = 200_000
    stops: Counter[int] = Counter()
    while stops.total() < 3_000:
        rig.cpu.set_deadline_ns(time.monotonic_ns() + 3_000)
        if rig.cpu.run() == Reason.HLT:
            break
        stops[rig.regs.rip - CODE] += 1
        assert rig.regs.rip != CODE + 2 or not rig.cpu.is_interruptible
    assert stops.total() > 5


@pytest.mark.parametrize("way", WAYS)
def test_popf_that_opens_interrupts_takes_the_waiting_one(way: str) -> None:
    rig = rigs.Rig("long", engine="interpret" if way == "interpret" else "translate")
    rig.cpu.tune_translator(1)
    rig.cpu.patch_after = 1 if way == "patched" else 0
    code = bytes.fromhex("fa68020200009dffc0ffc0fae2f2f4")  # cli; push 0x202; popf; inc eax twice; cli; loop
    for waits in (False, True):
        rig.load(code)
        rig.regs.rcx, rig.regs.rax, rig.regs.rflags, rig.regs.rsp = 5, 0, 2, STACK0
        if waits:
            rig.cpu.inject(0x40)
        rig.go_on()
    assert rig.vector == 0x40 and rig.stack(1)[0] == CODE + 7 and rig.regs.rax == 0


def test_str_reads_the_task_register() -> None:
    rig = translating_rig()
    rig.load(turns_of(CASES["str edx"]))
    rig.regs.rcx = 5
    rig.go_on()
    assert rig.regs.rdx == TSS_SEL


def test_a_copy_for_another_rip_is_patched_by_itself() -> None:
    function, alias = 0x10000, 0x60000
    rig = translating_rig()
    rig.cpu.patch_after = 8
    rig.set_page(alias, function | 7)
    rig.memory.write(function, bytes.fromhex("418cd29c58c3"))  # mov r10,ss; pushf; pop rax; ret
    # the first stays as it was translated, and is copied
    for at, turns in ((function, 4), (alias, 20), (function, 20)):
        rig.load(b"\xb9" + turns.to_bytes(4, "little") + bytes.fromhex("ffd3ffc975faf4"))
        rig.regs.rbx, rig.regs.r10 = at, 0
        rig.go_on()
        assert rig.vector is None and rig.regs.r10 == DATA0 and rig.regs.rax & 2
    counters = rig.cpu.counters()
    assert counters["translations_replicated"] == 1 and counters["patches"] == 4
    found = rig.cpu.translations()
    assert found is not None
    assert [str(violation) for violation in verify(found)] == []
