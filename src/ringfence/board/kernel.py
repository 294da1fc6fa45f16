"""Loads whatever kernel a user names: finds out its kind and hands it to that kind's loader.

What can't be a kernel for this machine is refused with one line that says what it is instead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ringfence.board import elf, linux_boot, multiboot, pvh, raw
from ringfence.board.entry import Entry
from ringfence.board.kernel_file import read_image
from ringfence.board.memory_map import MemoryMap
from ringfence.devices.dma import GuestMemory
from ringfence.errors import ImageError

#: Files that people take for kernels, by what they have at an offset.
_KNOWN_OTHERS = (
    (0x38, b"ARM\x64", "a Linux kernel for another architecture (64-bit ARM)"),
    (0x38, b"RSC\x05", "a Linux kernel for another architecture (RISC-V)"),
    (0x24, b"\x18\x28\x6f\x01", "a Linux kernel for another architecture (32-bit ARM)"),
    (0x00, b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (0x00, b"\xfd7zXZ\x00", "compressed with xz: unpack it first"),
    (0x00, b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (0x00, b"BZh", "compressed with bzip2: unpack it first"),
    (0x00, b"!<arch>\n", "a Debian package or an ar archive, not a kernel"),
    (0x00, b"070701", "an initrd, not a kernel"),
    (0x00, b"QFI\xfb", "a qcow2 disk image, not a kernel"),
    (0x8001, b"CD001", "a CD image, not a kernel"),
    (0x00, b"MZ", "an EFI program, not a kernel with a Linux boot header"),
)
KINDS = "a Linux bzImage, a PVH or multiboot ELF"


@dataclass(frozen=True)
class BootFiles:
    """What the user wants started.

    ``raw_at`` says that the kernel is bare real-mode code for this address.
    """

    kernel: Path
    initrd: Path | None = None
    append: str = ""
    raw_at: int | None = None


def load_kernel(memory: GuestMemory, map: MemoryMap, files: BootFiles, rsdp: int) -> Entry:
    """Put a kernel into memory, ready to be started by the entry that this returns.

    Raises:
        ImageError: a file is missing, damaged, of another kind, or does not fit.
    """
    room = map.high_ram().size_bytes
    image = read_image(files.kernel, "kernel", room)
    initrd = read_image(files.initrd, "initrd", room) if files.initrd is not None else b""
    cmdline = os.fsencode(files.append)
    try:
        if files.raw_at is not None:
            return raw.load(memory, map, image, files.raw_at)
        if linux_boot.is_bzimage(image):
            return linux_boot.load(memory, map, image, initrd, cmdline, rsdp)
        if elf.is_elf(image):
            file = elf.parse(image)
            if pvh.entry_point(file) is not None:
                return pvh.load(memory, map, file, initrd, cmdline, rsdp)
        if header := multiboot.find_header(image):
            # By its convention the command line starts with the kernel's name.
            named = os.fsencode(f"{files.kernel} {files.append}".strip())
            return multiboot.load(memory, map, image, header, initrd, named)
        raise ImageError(_what_else(image))
    except ImageError as error:
        raise ImageError(f"kernel {str(files.kernel)!r}: {error}") from error


def _what_else(image: bytes) -> str:
    if elf.is_elf(image):
        return f"an ELF file without a PVH note or a multiboot header: not {KINDS}"
    if image.startswith(b"MZ") and len(image) < linux_boot.HEADER_OFFSET + linux_boot.HEADER_MIN_BYTES:
        return f"truncated: {len(image)} bytes are too few for a kernel"
    for offset, magic, what in _KNOWN_OTHERS:
        if image[offset : offset + len(magic)] == magic:
            return what
    return f"not {KINDS}"
