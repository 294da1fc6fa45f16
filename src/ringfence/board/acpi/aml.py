"""Encodes ACPI Machine Language: ACPI 6.4, chapter 20.

Each function returns the bytes of one term, and takes the terms inside it as bytes, so that code that
builds a table reads like the ASL it stands for.
"""

from __future__ import annotations

import struct


def name_string(path: str) -> bytes:
    """``_CRS``, ``PCI0.LPC`` or ``\\_SB.PCI0``; a segment shorter than four is padded with ``_``."""
    root = b"\\" if path.startswith("\\") else b""
    segments = [part.ljust(4, "_").encode("ascii") for part in path.lstrip("\\").split(".") if part]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"not an ACPI name: {path}")
    match len(segments):
        case 0:
            return root + b"\x00"
        case 1:
            return root + segments[0]
        case 2:
            return root + b"\x2e" + b"".join(segments)
        case count:
            return root + b"\x2f" + bytes([count]) + b"".join(segments)


def integer(value: int) -> bytes:
    """The shortest of the integer encodings."""
    if value in (0, 1):
        return bytes([value])
    for prefix, code, bits in ((0x0A, "<B", 8), (0x0B, "<H", 16), (0x0C, "<I", 32), (0x0E, "<Q", 64)):
        if value < 1 << bits:
            return bytes([prefix]) + struct.pack(code, value)
    raise ValueError(f"not a 64-bit integer: {value}")


def string(text: str) -> bytes:
    return b"\x0d" + text.encode("ascii") + b"\x00"


def eisa_id(text: str) -> bytes:
    """``PNP0A08`` as the compressed integer: three letters of five bits, four hexadecimal digits."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    value = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(text[3:], 16)
    return b"\x0c" + struct.pack(">I", value)


def package(*elements: bytes) -> bytes:
    return b"\x12" + _with_length(bytes([len(elements)]) + b"".join(elements))


def buffer(data: bytes) -> bytes:
    return b"\x11" + _with_length(integer(len(data)) + data)


def name(path: str, value: bytes) -> bytes:
    """``Name (path, value)``"""
    return b"\x08" + name_string(path) + value


def scope(path: str, *terms: bytes) -> bytes:
    return b"\x10" + _with_length(name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return b"\x5b\x82" + _with_length(name_string(path) + b"".join(terms))


def method(path: str, arguments: int, *terms: bytes) -> bytes:
    """``Method (path, arguments, NotSerialized)``"""
    return b"\x14" + _with_length(name_string(path) + bytes([arguments]) + b"".join(terms))


def argument(number: int) -> bytes:
    """``Arg0`` to ``Arg6``"""
    return bytes([0x68 + number])


def store(value: bytes, target: bytes) -> bytes:
    return b"\x70" + value + target


def return_(value: bytes) -> bytes:
    return b"\xa4" + value


def if_(predicate: bytes, *terms: bytes) -> bytes:
    return b"\xa0" + _with_length(predicate + b"".join(terms))


def _with_length(body: bytes) -> bytes:
    """PkgLength, which counts itself, and the body: one byte, or 4 bits and up to three more bytes."""
    if len(body) + 1 < 0x40:
        return bytes([len(body) + 1]) + body
    for extra in (1, 2, 3):
        length = len(body) + 1 + extra
        if length < 1 << (4 + 8 * extra):
            first = extra << 6 | length & 0xF
            return bytes([first]) + (length >> 4).to_bytes(extra, "little") + body
    raise ValueError(f"a term of {len(body)} bytes is too long")
