"""FXSAVE images to start from: SDM vol. 1, table 10-2."""

from __future__ import annotations

import struct

from values import Source

MXCSR_DEFAULT, FCW_DEFAULT = 0x1F80, 0x037F
MXCSR_OFFSET, ST_OFFSET, XMM_OFFSET = 24, 32, 160
#: The x87 as FNINIT leaves it, MXCSR at its reset value, all registers 0.
DEFAULT = struct.pack("<HHBBH16xII480x", FCW_DEFAULT, 0, 0, 0, 0, MXCSR_DEFAULT, 0xFFFF)


def draw_mxcsr(source: Source) -> int:
    """Exceptions masked in most cases; any rounding, FTZ, DAZ and sticky flags."""
    if not source.one_in(2):
        return MXCSR_DEFAULT
    mxcsr = source.random.getrandbits(16)
    return mxcsr if source.one_in(4) else mxcsr | MXCSR_DEFAULT


def draw_x87(source: Source) -> bytes:
    """Control, status and tag word that agree with each other (ES and B follow from the flags)."""
    masks = 0x3F if not source.one_in(5) else source.random.getrandbits(6)
    rounding = source.pick((0, 1, 2, 3))
    precision = source.pick((3, 3, 3, 2, 0))
    control = 0x40 | masks | precision << 8 | rounding << 10
    top = source.below(8)
    flags = source.random.getrandbits(7) if source.one_in(3) else 0
    if not source.one_in(8):
        flags &= masks | 0x40
    status = flags | top << 11 | source.random.getrandbits(3) << 8 | source.random.getrandbits(1) << 14
    if flags & ~masks & 0x3F:
        status |= 0x8080
    tags = 0xFF if not source.one_in(3) else source.random.getrandbits(8)
    return struct.pack("<HHBBH", control, status, tags, 0, 0)


def draw_masked(source: Source) -> bytes:
    """All registers random, every exception masked and none pending."""
    image = bytearray(draw_state(source, True, True))
    image[0] |= 0x3F
    image[2:4] = (int.from_bytes(image[2:4], "little") & ~0x80FF).to_bytes(2, "little")
    image[MXCSR_OFFSET : MXCSR_OFFSET + 2] = (
        int.from_bytes(image[MXCSR_OFFSET : MXCSR_OFFSET + 2], "little") | MXCSR_DEFAULT
    ).to_bytes(2, "little")
    return bytes(image)


def draw_state(source: Source, with_x87: bool, with_sse: bool) -> bytes:
    """An image with random contents of the registers that are asked for."""
    head, stack, xmm = DEFAULT[:24], DEFAULT[ST_OFFSET:XMM_OFFSET], DEFAULT[XMM_OFFSET:416]
    mxcsr = MXCSR_DEFAULT
    if with_x87:
        head = draw_x87(source).ljust(24, b"\0")
        stack = b"".join(source.extended().ljust(16, b"\0") for _ in range(8))
    if with_sse:
        mxcsr = draw_mxcsr(source)
        xmm = b"".join(source.vector() for _ in range(16))
    return (head + struct.pack("<II", mxcsr, 0xFFFF) + stack + xmm).ljust(512, b"\0")
