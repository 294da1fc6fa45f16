"""Thunks: SSE, MMX and x87 instructions run by the host over values in memory.

Each case was worked out by hand or by Python's own arithmetic; tests/isa compares every row with
the bare processor.
"""

import os
import re
import struct
from pathlib import Path

import pytest

from ringfence.core.x86 import thunk

# Shape, in thunk_emit.pxd
LOAD_XMM, STORE_XMM, LOAD_MM, STORE_MM = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FROM_16, FROM_8, FROM_4, FROM_2, FROM_MM8, FROM_MM4 = (1 << k for k in range(4, 10))
FROM_GPR, TO_GPR, MASK, FLOAT, FLAGS, STRING = (1 << k for k in range(10, 16))
FPU, FPU_MEMORY, FPU_FLAGS = (1 << k for k in range(16, 19))
VECTOR, MMX = LOAD_XMM | STORE_XMM, LOAD_MM | STORE_MM

ALL_MASKED = 0x1F80
INVALID, ZERO_DIVIDE, INEXACT = 1, 4, 32


def floats(*values: float) -> bytes:
    return struct.pack("<4f", *values)


def doubles(*values: float) -> bytes:
    return struct.pack("<2d", *values)


def fpu_image(*stack: bytes, control: int = 0x37F, mxcsr: int = ALL_MASKED) -> bytes:
    """An FXSAVE image with ``stack`` from ST0 on."""
    top = (8 - len(stack)) & 7
    tags = sum(1 << (top + k & 7) for k in range(len(stack)))
    image = struct.pack("<HHBBHQQII", control, top << 11, tags, 0, 0, 0, 0, mxcsr, 0xFFFF)
    image += b"".join(value.ljust(16, b"\0") for value in stack)
    return image.ljust(512, b"\0")


def extended(sign: int, exponent: int, fraction: int) -> bytes:
    return struct.pack("<QH", fraction, sign << 15 | exponent + 16383)


ONE = extended(0, 0, 1 << 63)
TWO = extended(0, 1, 1 << 63)
THREE = extended(0, 1, 3 << 62)


def test_vector_operation_takes_both_operands_from_memory() -> None:
    a, b = bytes(range(16)), bytes([250] * 16)
    _, after = thunk.run_thunk(VECTOR | FROM_16, (0x66, 1, 0xFC), [a, b])
    assert after[0] == bytes((x + 250) & 255 for x in range(16))
    assert after[1] == b


@pytest.mark.parametrize(
    ("shape", "opcode", "width"), [(FROM_8, 0x20, 8), (FROM_4, 0x21, 4), (FROM_2, 0x22, 2)]
)
def test_narrow_source_reads_only_its_bytes(shape: int, opcode: int, width: int) -> None:
    """PMOVSXBW, BD, BQ: as many bytes as there are elements."""
    source = bytes([0xFF, 1, 0x80, 2, 3, 4, 5, 6])
    _, after = thunk.run_thunk(VECTOR | shape, (0x66, 2, opcode), [bytes(16), source])
    element = 16 // width
    want = b"".join(
        int.to_bytes(struct.unpack("b", source[k : k + 1])[0], element, "little", signed=True)
        for k in range(width)
    )
    assert after[0] == want


def test_immediate_is_part_of_the_code() -> None:
    source = struct.pack("<4I", 10, 20, 30, 40)
    _, after = thunk.run_thunk(VECTOR | FROM_16, (0x66, 1, 0x70), [bytes(16), source], imm=0b00_01_10_11)
    assert struct.unpack("<4I", after[0]) == (40, 30, 20, 10)


def test_shift_by_immediate_has_its_operation_in_modrm() -> None:
    value = struct.pack("<2Q", 1 << 40, 3)
    _, after = thunk.run_thunk(VECTOR, (0x66, 1, 0x73), [value], digit=6, imm=4)
    assert struct.unpack("<2Q", after[0]) == (1 << 44, 48)


def test_implicit_mask_register() -> None:
    mask = bytes([0x80, 0] * 8)
    _, after = thunk.run_thunk(VECTOR | FROM_16 | MASK, (0x66, 2, 0x10), [b"a" * 16, b"b" * 16, mask])
    assert after[0] == b"ba" * 8


def test_float_flags_are_the_guests() -> None:
    a, b = floats(1, 2, 3, -1), floats(4, 0.5, 0, 0)
    mxcsr = struct.pack("<I", ALL_MASKED)
    _, after = thunk.run_thunk(VECTOR | FROM_16 | FLOAT, (0, 1, 0x5E), [a, b, mxcsr])
    assert struct.unpack("<4f", after[0]) == (0.25, 4, float("inf"), float("-inf"))
    assert after[2] == struct.pack("<I", ALL_MASKED | ZERO_DIVIDE)
    # and they do not leak into what runs next
    _, after = thunk.run_thunk(VECTOR | FROM_16 | FLOAT, (0, 1, 0x58), [a, b, mxcsr])
    assert after[2] == mxcsr


@pytest.mark.parametrize(("rounding", "want"), [(0, 2), (1, 1), (2, 2), (3, 1)])
def test_rounding_is_the_guests(rounding: int, want: int) -> None:
    mxcsr = struct.pack("<I", ALL_MASKED | rounding << 13)
    value, after = thunk.run_thunk(FROM_8 | TO_GPR | FLOAT, (0xF2, 1, 0x2D), [b"", doubles(1.75, 0), mxcsr])
    assert value == want
    assert after[2] == struct.pack("<I", ALL_MASKED | rounding << 13 | INEXACT)
    assert 0.1 + 0.2 == 0.30000000000000004  # the host still rounds to nearest


def test_general_registers_of_both_widths() -> None:
    mxcsr = struct.pack("<I", ALL_MASKED)
    source = struct.pack("<q", -(1 << 40))
    for is_wide, want in ((False, 0.0), (True, -float(1 << 40))):
        _, after = thunk.run_thunk(
            VECTOR | FROM_GPR | FLOAT, (0xF2, 1, 0x2A), [doubles(9, 7), source, mxcsr], is_wide=is_wide
        )
        assert struct.unpack("<2d", after[0]) == (want, 7)


@pytest.mark.parametrize(
    ("a", "b", "flags"), [(1.0, 2.0, 0x01), (2.0, 1.0, 0), (1.0, 1.0, 0x40), (float("nan"), 1.0, 0x45)]
)
def test_compare_returns_flags(a: float, b: float, flags: int) -> None:
    mxcsr = struct.pack("<I", ALL_MASKED)
    value, after = thunk.run_thunk(
        LOAD_XMM | FROM_8 | FLAGS | FLOAT, (0x66, 1, 0x2F), [doubles(a, 0), doubles(b, 0), mxcsr]
    )
    assert value >> 8 & 0xD5 == flags
    assert value & 0xFF == 0
    assert after[2] == struct.pack("<I", ALL_MASKED | (INVALID if a != a else 0))


@pytest.mark.skipif(not thunk.host_has("sse42"), reason="no SSE4.2")
def test_string_compare_gives_index_mask_and_flags() -> None:
    slot = struct.pack("<4Q", 3, 16, 99, 0).ljust(48, b"\0")
    shape = LOAD_XMM | FROM_16 | STRING | FLAGS
    text, needle = b"xyzzy, a plugh!!", b"zy!".ljust(16, b"\0")
    value, after = thunk.run_thunk(shape, (0x66, 3, 0x61), [needle, text, slot], imm=0)
    assert struct.unpack_from("<Q", after[2], 16)[0] == 1
    assert value >> 8 & 0x41 == 0x01  # CF: some byte was found; ZF: not, all 16 are text
    _, after = thunk.run_thunk(shape, (0x66, 3, 0x60), [needle, text, slot], imm=0)
    assert struct.unpack_from("<H", after[2], 32)[0] == sum(1 << k for k, c in enumerate(text) if c in b"zy!")


def test_mmx() -> None:
    a, b = struct.pack("<4h", 1, -2, 30000, -30000), struct.pack("<4h", 1, 1, 30000, -30000)
    _, after = thunk.run_thunk(MMX | FROM_MM8, (0, 1, 0xED), [a, b])
    assert struct.unpack("<4h", after[0]) == (2, -1, 32767, -32768)


def test_x87_runs_on_an_image() -> None:
    image = fpu_image(THREE, TWO)
    _, after = thunk.run_thunk(FPU, (0, 0, 0xDE), [image, b"", image], modrm=0xC1)  # FADDP ST1, ST0
    status, tags = struct.unpack_from("<HB", after[2], 2)
    assert (status >> 11 & 7, tags) == (7, 0x80)
    assert after[2][32:42] == extended(0, 2, 5 << 61)
    assert after[0] == image


def test_x87_memory_operand() -> None:
    image = fpu_image(ONE)
    number = struct.pack("<d", 2.5)
    _, after = thunk.run_thunk(FPU | FPU_MEMORY, (0, 0, 0xDC), [image, number, image], digit=0)  # FADD m64fp
    assert after[2][32:42] == extended(0, 1, 7 << 61)
    _, after = thunk.run_thunk(
        FPU | FPU_MEMORY,
        (0, 0, 0xDF),
        [image, bytes(8), image],
        digit=7,  # FISTP m64int
    )
    assert after[1] == struct.pack("<q", 1)
    assert struct.unpack_from("<B", after[2], 4)[0] == 0


def test_x87_unmasked_exception_stays_in_the_image() -> None:
    """1 / 0 with ZM clear: ES is set, the operands are as they were, and no signal reached us."""
    image = fpu_image(ONE, bytes(10), control=0x37B)
    _, after = thunk.run_thunk(FPU, (0, 0, 0xD8), [image, b"", image], modrm=0xF1)  # FDIV ST0, ST1
    assert struct.unpack_from("<H", after[2], 2)[0] & 0x80FF == 0x8084
    assert after[2][32:42] == ONE


def test_x87_compare_into_flags() -> None:
    image = fpu_image(ONE, TWO)
    value, _ = thunk.run_thunk(FPU | FPU_FLAGS, (0, 0, 0xDB), [image, b"", image], modrm=0xF1)  # FCOMI
    assert value >> 8 & 0x45 == 0x01


def test_forked_child_has_thunks_of_its_own() -> None:
    """Parent and child write different code at one offset; each must then run its own."""
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        ok = False
        try:
            os.read(wait, 1)
            _, after = thunk.run_thunk(VECTOR | FROM_16, (0x66, 1, 0xFC), [b"\1" * 16, b"\2" * 16])
            ok = after[0] == b"\3" * 16 and code_mappings() <= {"rw-s", "r-xs"}
        finally:
            os._exit(0 if ok else 1)
    _, after = thunk.run_thunk(VECTOR | FROM_16, (0x66, 1, 0xF8), [b"\5" * 16, b"\2" * 16])
    assert after[0] == b"\3" * 16
    os.write(go, b"x")
    os.close(wait)
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def code_mappings() -> set[str]:
    """Permissions of the mappings of generated code: thunks, and translations of vCPUs of other tests."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[1] for line in lines if "ringfence-code" in line}


def test_no_mapping_is_writable_and_executable() -> None:
    assert code_mappings() == {"rw-s", "r-xs"}


def test_host_features_agree_with_the_kernel() -> None:
    names = {"sse3": "pni", "pclmul": "pclmulqdq", "sse41": "sse4_1", "sse42": "sse4_2", "sha": "sha_ni"}
    found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    assert found is not None
    flags = found.group(1).split()
    for feature in thunk.HOST_FEATURES:
        assert thunk.host_has(feature) == (names.get(feature, feature) in flags), feature
    assert thunk.host_has("cmov")
