"""The decoder's rules: prefixes, length, LOCK, modes, CPUID features. SDM vol. 2, chapter 2."""

from __future__ import annotations

import pytest
from rig import CODE, Rig

UD, GP = 6, 13
HLT = "f4"


@pytest.fixture(scope="module")
def rigs(engine_of_rigs: None) -> dict[str, Rig]:
    return {mode: Rig(mode) for mode in ("real", "protected", "long")}


def vector_of(rig: Rig, code: str) -> int | None:
    """Run the code and a HLT behind it with every register at a place in RAM."""
    for name in ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"):
        setattr(rig.regs, name, 0x6000)
    rig.regs.rsp = 0x7000
    rig.run(code + HLT)
    return rig.vector


@pytest.mark.parametrize(
    "code",
    [
        "06", "07", "0e", "16", "17", "1e", "1f", "27", "2f", "37", "3f", "60", "61", "62c0", "82c000",
        "c400", "c500", "ce", "d400", "d500", "d6", "9a000000000000", "ea000000000000",
    ],
)  # fmt: skip
def test_undefined_in_64_bit_mode(rigs: dict[str, Rig], code: str) -> None:
    assert vector_of(rigs["long"], code) == UD


UNDEFINED = ("0f0b", "0fb9c0", "0fffc0", "0f04", "0f0a", "0faa", "fed0", "fff8", "0fc7c8")


@pytest.mark.parametrize("code", UNDEFINED)
@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_undefined_everywhere(rigs: dict[str, Rig], mode: str, code: str) -> None:
    assert vector_of(rigs[mode], code) == UD


@pytest.mark.parametrize("code", ["0f0000", "0f00c8", "0f00d0", "0f02c0", "0f03c0", "63c0"])
def test_undefined_in_real_mode(rigs: dict[str, Rig], code: str) -> None:
    """SLDT STR LLDT LAR LSL ARPL."""
    assert vector_of(rigs["real"], code) == UD


@pytest.mark.parametrize(
    ("code", "is_defined"),
    [
        ("f00006", True), ("f08006ff", True), ("f0ff06", True), ("f0f616", True), ("f00fc70e", True),
        ("f08606", True), ("f00fba2e01", True), ("f00fc006", True), ("f00fb006", True),
        ("f000c0", False), ("f03806", False), ("f08806", False), ("f08a06", False), ("f00206", False),
        ("f0803eff", False), ("f0f606ff", False), ("f0f626", False), ("f0ff36", False), ("f00fba2601", False),
        ("f00fa306", False), ("f0a4", False), ("f090", False), ("f087c0", False), ("f0d006", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_lock(rigs: dict[str, Rig], mode: str, code: str, is_defined: bool) -> None:
    """Only on read-modify-write of memory: SDM vol. 2, LOCK."""
    assert vector_of(rigs[mode], code) == (None if is_defined else UD)


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_fifteen_bytes_and_no_more(rigs: dict[str, Rig], mode: str) -> None:
    rig = rigs[mode]
    assert vector_of(rig, "3e" * 14 + "90") is None
    assert vector_of(rig, "3e" * 15 + "90") == GP
    assert vector_of(rig, "66" * 13 + "33c0") is None
    assert vector_of(rig, "66" * 14 + "33c0") == GP
    assert vector_of(rig, "26" * 40) == GP


def test_only_the_last_rex_right_before_the_opcode_counts(rigs: dict[str, Rig]) -> None:
    rig = rigs["long"]
    rig.regs.r8 = 0
    for code, rax in (("48ffc0", 1 << 32), ("4866ffc0", 0xFFFF_0000), ("4840ffc0", 0), ("4048ffc0", 1 << 32)):
        rig.load(bytes.fromhex(code + HLT))
        rig.regs.rax = 0xFFFF_FFFF
        rig.go_on()
        assert rig.regs.rax == rax, code


def test_rex_w_beats_66(rigs: dict[str, Rig]) -> None:
    rig = rigs["long"]
    rig.load(bytes.fromhex("6648ffc0" + HLT))
    rig.regs.rax = 0xFFFF_FFFF
    rig.go_on()
    assert rig.regs.rax == 1 << 32


def test_byte_registers_with_and_without_rex(rigs: dict[str, Rig]) -> None:
    rig = rigs["long"]
    rig.load(bytes.fromhex("b4aa" + "40b4bb" + "41b4cc" + HLT))  # mov ah, aah; mov spl, bbh; mov r12b, cch
    rig.regs.rax, rig.regs.rsp, rig.regs.r12 = 0, 0x7000, 0
    rig.go_on()
    assert (rig.regs.rax, rig.regs.rsp, rig.regs.r12) == (0xAA00, 0x70BB, 0xCC)


def test_nop_is_no_xchg(rigs: dict[str, Rig]) -> None:
    """90 keeps the upper half of RAX; 41 90 and F3 41 90 are XCHG R8, RAX."""
    rig = rigs["long"]
    for code, swapped in (("90", False), ("4890", False), ("f390", False), ("4990", True), ("f34990", True)):
        rig.load(bytes.fromhex(code + HLT))
        rig.regs.rax, rig.regs.r8 = (1 << 63) + 5, 7
        rig.go_on()
        assert rig.regs.rax == (7 if swapped else (1 << 63) + 5), code


@pytest.mark.parametrize(
    ("code", "is_defined"),
    [
        ("c4e270f2c1", True),  # andn eax, ecx, ecx
        ("c4e274f2c1", False),  # VEX.L = 1
        ("66c4e270f2c1", False),
        ("f2c4e270f2c1", False),
        ("f0c4e270f2c1", False),
        ("48c4e270f2c1", False),
        ("c4e37bf0c101", True),  # rorx eax, ecx, 1
        ("c4e373f0c101", False),  # VEX.vvvv is not 1111b
        ("c4e070f2c1", False),  # map 0
        ("c5f877", False),  # vzeroupper: AVX is not there
    ],
)
def test_vex(rigs: dict[str, Rig], code: str, is_defined: bool) -> None:
    assert vector_of(rigs["long"], code) == (None if is_defined else UD)


def test_vex_in_32_bit_code_is_les_with_a_memory_operand(rigs: dict[str, Rig]) -> None:
    rig = rigs["protected"]
    assert vector_of(rig, "c4e270f2c1") is None
    rig.memory.write(0x6000, (0x12345678).to_bytes(4, "little") + (0x10).to_bytes(2, "little"))
    rig.run("c407" + HLT)  # les eax, [edi]
    assert rig.regs.rax == 0x12345678 and rig.cpu.segment("es")[0] == 0x10


@pytest.mark.parametrize(
    ("model", "code", "is_defined"),
    [
        ("pentium", "0f44c1", False), ("pentium3", "0f44c1", True),  # cmov
        ("pentium3", "0fae38", False), ("core2duo", "0fae38", True),  # clflush
        ("pentium", "0fc70e", True),  # cmpxchg8b
        ("pentium", "0f34", False),  # sysenter
        ("x86-64-v2", "0f38f006", False), ("max", "0f38f006", True),  # movbe
        ("x86-64-v2", "f30fbcc1", True), ("max", "f30fbcc1", True),  # tzcnt; without BMI1 it is BSF
        ("x86-64-v2", "0fc7f0", False), ("max", "0fc7f0", True),  # rdrand
    ],
)  # fmt: skip
def test_a_model_has_the_instructions_of_its_features(model: str, code: str, is_defined: bool) -> None:
    assert vector_of(Rig("protected", model), code) == (None if is_defined else UD)


def test_tzcnt_is_bsf_where_there_is_none(rigs: dict[str, Rig]) -> None:
    for model, carry in (("x86-64-v2", None), ("max", 1)):
        rig = Rig("long", model)
        rig.regs.rcx, rig.regs.rax = 0, 99
        rig.run("f8" + "f30fbcc1" + HLT)
        assert rig.regs.rax == (99 if carry is None else 32)
        assert rig.regs.rflags & 0x40 == (0x40 if carry is None else 0)


@pytest.mark.parametrize(
    ("code", "address"),
    [("a0" + "0060000000000000", 0x6000), ("67a0" + "00600000", 0x6000), ("8a0425" + "00600000", 0x6000)],
)
def test_absolute_addresses_in_64_bit_code(rigs: dict[str, Rig], code: str, address: int) -> None:
    rig = rigs["long"]
    rig.memory.write(address, b"\x5c")
    assert vector_of(rig, code) is None and rig.regs.rax & 0xFF == 0x5C


def test_rip_relative_counts_from_the_next_instruction(rigs: dict[str, Rig]) -> None:
    rig = rigs["long"]
    rig.memory.write(CODE + 0x100, b"\x78\x56\x34\x12")
    code = "90" * 5 + "81052000000011000000"  # add dword [rip + 0x20], 0x11: an immediate behind the address
    vector_of(rig, code)
    assert rig.memory.read(CODE + 5 + 10 + 0x20, 4) == b"\x11\0\0\0"
    vector_of(rig, "678b05f9000000")  # mov eax, [eip + 0xf9]
    assert rig.regs.rax == 0x12345678


def test_segment_overrides_in_64_bit_code(rigs: dict[str, Rig]) -> None:
    """ES CS SS DS have no base there; FS and GS have."""
    rig = rigs["long"]
    rig.memory.write(0x6000, bytes(range(0x20)))
    for segment in ("es", "ss", "ds"):
        selector, _, limit, attr = rig.cpu.segment(segment)
        rig.cpu.set_segment(segment, selector, 4, limit, attr)
    rig.cpu.set_segment("fs", 0, 8, 0xFFFFFFFF, 0xC093)
    rig.cpu.set_segment("gs", 0, 0x10, 0xFFFFFFFF, 0xC093)
    found = []
    for prefix in ("", "26", "2e", "36", "3e", "64", "65", "6465", "6526"):
        vector_of(rig, prefix + "8a06")
        found.append(rig.regs.rax & 0xFF)
    assert found == [0, 0, 0, 0, 0, 8, 0x10, 0x10, 0x10]


@pytest.mark.parametrize("mode", ["real", "protected"])
def test_the_default_segment_of_bp_and_sp_is_ss(rigs: dict[str, Rig], mode: str) -> None:
    rig = Rig(mode)
    rig.memory.write(0x6000, b"\x11")
    rig.memory.write(0x6100, b"\x22")
    selector, _, limit, attr = rig.cpu.segment("ss")
    rig.cpu.set_segment("ss", selector, 0x100, limit, attr)
    rig.regs.rbp = rig.regs.rbx = 0x6000
    rig.run(("8a4e00" + "8a2f") + HLT)  # mov cl, [bp]; mov ch, [bx]
    if mode == "protected":
        rig.run("8a4d00" + "8a2b" + HLT)
    assert rig.regs.rcx & 0xFFFF == 0x1122
