"""What programs ask of an operating system, and whole programs of Debian's: bare hardware, Ringfence and TCG.

On bare hardware it runs in the same file tree, by chroot(8) in a user namespace, under the host's own kernel.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import side_by_side, userland
from benchmarks.programs import compile_os_work
from benchmarks.side_by_side import NATIVE, QEMU, RINGFENCE, Plan, Result

MEMORY = "1G"
#: How many of these operations a unit is.
OPERATIONS = {"getppid": 1000, "fork": 1, "fault": 4096, "pipe": 1000}


def plan(kernel: Path, folder: Path) -> Plan:
    root = userland.unpack(folder, compile_os_work(folder))
    initrd = userland.pack(root, folder / "os_work.cpio")
    return Plan(["unshare", "--map-root-user", "chroot", root, "/init"], kernel, initrd, MEMORY)


def table(results: list[Result]) -> list[str]:
    """As Markdown."""
    lines = side_by_side.table("work for the system", results)
    small = [result for result in results if result.name in OPERATIONS]
    if small:
        lines += ["", "| one operation, µs | native | ringfence | TCG |", "|---|---|---|---|"]
    for result in small:
        operations = result.units * OPERATIONS[result.name]
        each = (result.times[name].host_seconds / operations * 1e6 for name in (NATIVE, RINGFENCE, QEMU))
        lines.append(f"| {result.name} | " + " | ".join(f"{micros:.2f}" for micros in each) + " |")
    return lines
