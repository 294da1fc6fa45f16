"""VEX and EVEX prefixes at random: what is defined, and how long it is, by a third-party decoder."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from iced_x86 import Code, CpuidFeature, Decoder, Instruction
from rig import CODE, HANDLERS, Rig

from ringfence.core.x86.thunk import host_has

SAMPLES = 6000
UD = 6
#: their names of what is in our tables, by ours
FEATURES = {
    "bmi1": "BMI1", "bmi2": "BMI2", "avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "aes": "AES",
    "vaes": "VAES", "pclmul": "PCLMULQDQ", "vpclmulqdq": "VPCLMULQDQ", "gfni": "GFNI", "avx512f": "AVX512F",
    "avx512cd": "AVX512CD", "avx512bw": "AVX512BW", "avx512dq": "AVX512DQ", "avx512vl": "AVX512VL",
    "avx512vbmi": "AVX512_VBMI", "avx512_vbmi2": "AVX512_VBMI2", "avx512_vnni": "AVX512_VNNI",
    "avx512_bitalg": "AVX512_BITALG", "avx512_vpopcntdq": "AVX512_VPOPCNTDQ", "avx512ifma": "AVX512_IFMA",
    "avx512_bf16": "AVX512_BF16",
}  # fmt: skip
KNOWN = {getattr(CpuidFeature, theirs) for ours, theirs in FEATURES.items() if host_has(ours)}
#: mov eax, e7h or 7; xor edx, edx; xor ecx, ecx; xsetbv; hlt
SET_XCR0 = "b8{:02x}00000031d231c90f01d1f4"


def prefixes(random: Random, bits: int) -> Iterator[bytes]:
    """VEX of two and three bytes, EVEX; outside 64-bit mode those that are not LES, LDS or BOUND."""
    while True:
        fixed = 0 if bits == 64 else 0xC0
        code = bytearray(random.randbytes(4))
        code[0] = random.choice((0xC5, 0xC4, 0x62, 0x62))
        code[1] |= fixed
        if code[0] != 0xC5:
            code[1] = code[1] & (0xF0 if code[0] == 0x62 else 0xE0) | random.randrange(1, 4)
        if random.random() < 0.6:
            # vvvv not used
            code[1 if code[0] == 0xC5 else 2] |= 0x78
            code[3] |= 8
        if code[0] == 0x62:
            code[2] |= 4
        yield bytes(code[: {0xC5: 2, 0xC4: 3, 0x62: 4}[code[0]]])


def is_defined(instruction: Instruction) -> bool:
    return instruction.code != Code.INVALID and set(instruction.cpuid_features()) <= KNOWN


def is_ours_alone(code: bytes) -> bool:
    """VEX.R where ModRM.reg names an opmask: our judge, an AMD processor, ignores it."""
    opcode = code[2] if code[0] == 0xC5 else code[3]
    return code[0] != 0x62 and not code[1] & 0x80 and (0x41 <= opcode <= 0x4B or 0x90 <= opcode <= 0x99)


@pytest.mark.parametrize("bits", [64, 32])
def test_third_party_decoder_agrees(bits: int) -> None:
    random = Random(bits)
    rig = Rig("long" if bits == 64 else "protected", "max")
    rig.regs.cr4 = rig.regs.cr4 | 0x40600
    rig.run(SET_XCR0.format(0xE7 if host_has("avx512f") else 7))
    start = rig.cpu.save()
    defined = 0
    for prefix, _ in zip(prefixes(random, bits), range(SAMPLES), strict=False):
        code = prefix + random.randbytes(10)
        theirs = Decoder(bits, code, ip=CODE).decode()
        rig.cpu.restore(start)
        for name in ("rax", "rcx", "rdx", "rbx", "rsi", "rdi", "rbp"):
            setattr(rig.regs, name, 0x50000)
        rig.load(code)
        rig.cpu.set_debug_steps(1)
        rig.cpu.run()
        is_ours = rig.vector != UD and rig.regs.rip != HANDLERS + 16 * UD
        if bits == 64 and is_ours_alone(code):
            continue
        assert is_ours == is_defined(theirs), f"{code.hex()}: {theirs}"
        defined += is_ours
        if is_ours and 0 < rig.regs.rip - CODE < 16:
            assert rig.regs.rip - CODE == theirs.len, f"{code.hex()}: {theirs}"
    assert defined > SAMPLES // 30
