"""Reads what loading a kernel needs of an ELF file: header, program headers, notes.

System V ABI, edition 4.1, chapters 4 and 5. pyelftools was considered: it reads far more than
this, and answers a damaged file with exceptions of many kinds, where a user is owed one line.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ringfence.errors import ImageError

EM_386 = 3
EM_X86_64 = 62
MACHINES = {
    2: "SPARC", 8: "MIPS", 20: "PowerPC", 21: "64-bit PowerPC", 22: "S/390", 40: "32-bit ARM", EM_386: "i386",
    43: "64-bit SPARC", 50: "IA-64", EM_X86_64: "x86-64", 183: "64-bit ARM", 243: "RISC-V", 258: "LoongArch",
}  # fmt: skip

_MAGIC = b"\x7fELF"
_LITTLE_ENDIAN = 1
_EXECUTABLE, _SHARED = 2, 3
PT_LOAD, PT_NOTE = 1, 4
_SEGMENTS_MAX = 128


@dataclass(frozen=True)
class Segment:
    """A program header."""

    type: int
    offset: int
    physical: int
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Elf:
    """An ELF executable for x86."""

    image: bytes
    is_64_bit: bool
    entry: int
    segments: tuple[Segment, ...]

    def loadable(self) -> Iterator[tuple[int, bytes, int]]:
        """Of each segment to be loaded: physical address, content, size in memory."""
        for segment in self.segments:
            if segment.type == PT_LOAD and segment.memory_bytes:
                yield segment.physical, self._content(segment), segment.memory_bytes

    def note(self, owner: bytes, kind: int) -> bytes | None:
        """The first note of that owner and kind."""
        for segment in self.segments:
            if segment.type == PT_NOTE:
                found = _find_note(self._content(segment), owner, kind)
                if found is not None:
                    return found
        return None

    def _content(self, segment: Segment) -> bytes:
        return self.image[segment.offset : segment.offset + segment.file_bytes]


def is_elf(image: bytes) -> bool:
    return image.startswith(_MAGIC)


def parse(image: bytes) -> Elf:
    """
    Raises:
        ImageError: damaged, not an executable, or for another architecture.
    """
    try:
        return _parse(image)
    except (struct.error, OverflowError) as error:
        # the latter for what lies beyond any file's end
        raise ImageError("truncated: it ends inside the ELF headers") from error


def _parse(image: bytes) -> Elf:
    is_64_bit = image[4:5] == b"\x02"
    if image[5:6] != bytes([_LITTLE_ENDIAN]):
        raise ImageError("an ELF file for another architecture (big-endian), not for x86")
    kind, machine = struct.unpack_from("<HH", image, 16)
    if machine not in (EM_386, EM_X86_64):
        what = MACHINES.get(machine, f"machine number {machine}")
        raise ImageError(f"an ELF file for another architecture ({what}), not for x86")
    if kind not in (_EXECUTABLE, _SHARED):
        raise ImageError("an ELF file, but not an executable")
    header = "<QQQIHHH" if is_64_bit else "<IIIIHHH"
    entry, table, _, _, _, entry_bytes, count = struct.unpack_from(header, image, 24)
    if count > _SEGMENTS_MAX:
        raise ImageError(f"an ELF file with {count} segments, which is no kernel")
    segments = tuple(_segment(image, table + n * entry_bytes, is_64_bit) for n in range(count))
    for segment in segments:
        if segment.type in (PT_LOAD, PT_NOTE) and segment.offset + segment.file_bytes > len(image):
            raise ImageError("truncated: a segment lies beyond the end of the file")
        if segment.type == PT_LOAD and segment.file_bytes > segment.memory_bytes:
            raise ImageError("damaged: a segment is larger in the file than in memory")
    return Elf(image, is_64_bit, entry, segments)


def _segment(image: bytes, offset: int, is_64_bit: bool) -> Segment:
    if is_64_bit:
        kind, _, at, _, physical, file_bytes, memory_bytes = struct.unpack_from("<IIQQQQQ", image, offset)
    else:
        kind, at, _, physical, file_bytes, memory_bytes = struct.unpack_from("<IIIIII", image, offset)
    return Segment(kind, at, physical, file_bytes, memory_bytes)


def _find_note(notes: bytes, owner: bytes, kind: int) -> bytes | None:
    """A note is three words, the owner's name and the content, both padded to four bytes."""
    at = 0
    while at + 12 <= len(notes):
        name_bytes, content_bytes, note_kind = struct.unpack_from("<III", notes, at)
        name = at + 12
        content = name + -(-name_bytes // 4) * 4
        if note_kind == kind and notes[name : name + name_bytes].rstrip(b"\0") == owner:
            return notes[content : content + content_bytes]
        at = content + -(-content_bytes // 4) * 4
    return None
