"""The programs in C below programs/: built for every machine alike, and packed as a guest's first process."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ringfence.image.cpio import CpioWriter

SOURCES = Path(__file__).parent / "programs"
FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-static", "-march=x86-64")
#: matmul.c, which is compiled twice, and how
MATMUL = {"matmul_o2": ("-O2", "-fno-tree-vectorize"), "matmul_o3": ("-O3",)}


def compile_kernels(folder: Path) -> Path:
    """The compute kernels as one static binary for any x86-64."""
    sources = sorted((SOURCES / "kernels").glob("*.c"))
    objects = []
    for name, flags in MATMUL.items():
        objects.append(folder / f"{name}.o")
        source = SOURCES / "kernels" / "matmul.c"
        _gcc(*flags, f"-DMATMUL={name}", "-c", "-o", objects[-1], source)
    plain = [source for source in sources if source.name != "matmul.c"]
    binary = folder / "kernels"
    _gcc("-O2", "-o", binary, SOURCES / "harness.c", *plain, *objects, "-lm")
    return binary


def compile_os_work(folder: Path) -> Path:
    """The work for an operating system, likewise."""
    binary = folder / "os_work"
    _gcc("-O2", "-o", binary, SOURCES / "harness.c", SOURCES / "os_work" / "main.c")
    return binary


def compile_connections(folder: Path) -> Path:
    """The program that counts TCP connections."""
    binary = folder / "connections"
    _gcc("-O2", "-o", binary, SOURCES / "network" / "connections.c")
    return binary


def add_init(archive: CpioWriter, binary: Path) -> None:
    """Make ``binary`` the first process of the guest that has this archive as its initial RAM filesystem."""
    archive.character_device("dev/console", 5, 1)
    archive.file("init", binary.read_bytes(), 0o755)


def _gcc(*arguments: str | Path) -> None:
    subprocess.run(["gcc", *FLAGS, *arguments], check=True)
