"""Thirteen compute kernels: bare hardware, Ringfence and QEMU's TCG."""

from __future__ import annotations

from pathlib import Path

from benchmarks import side_by_side
from benchmarks.programs import add_init, compile_kernels
from benchmarks.side_by_side import Plan, Result
from ringfence.image.cpio import CpioWriter

MEMORY = "512M"


def build(folder: Path) -> tuple[Path, Path]:
    """The kernels' binary, and the initrd of a guest that runs it and powers off."""
    binary = compile_kernels(folder)
    archive = CpioWriter()
    add_init(archive, binary)
    initrd = folder / "kernels.cpio"
    initrd.write_bytes(archive.finish())
    return binary, initrd


def plan(kernel: Path, folder: Path) -> Plan:
    binary, initrd = build(folder)
    return Plan([binary], kernel, initrd, MEMORY)


def table(results: list[Result]) -> list[str]:
    """As Markdown."""
    worst = max(results, key=lambda result: result.ratio(side_by_side.RINGFENCE, side_by_side.NATIVE))
    ratio = worst.ratio(side_by_side.RINGFENCE, side_by_side.NATIVE)
    return [
        *side_by_side.table("compute kernel", results),
        "",
        f"Furthest from native: {worst.name}, {ratio:.2f} times.",
    ]
