"""`python -m benchmarks [--part guest-work|boot]`: measure, and print tables in Markdown for SPEC.md.

Needs nasm, bochs with bochsbios, qemu-system-x86 and a Debian guest as `ringfence run debian` fetches it.
"""

from __future__ import annotations

import argparse
import platform
import re
import tempfile
from pathlib import Path

from benchmarks import boot, guest_work
from ringfence import __version__
from ringfence.image.debian import fetch_debian

PARTS = ("guest-work", "boot")


def host() -> str:
    """The CPU and what else a number depends on."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = f"{len(names)} x {names[0] if names else platform.processor()}"
    return f"Host: {cpu}; Python {platform.python_version()}; ringfence {__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="what to measure; all of it by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", action="append", default=[], help="only this guest work; repeatable")
    parser.add_argument("--kernel", type=Path, help="boot this instead of the Debian guest; with --initrd")
    parser.add_argument("--initrd", type=Path)
    arguments = parser.parse_args()
    parts = (arguments.part,) if arguments.part else PARTS
    print(host())
    with tempfile.TemporaryDirectory(prefix="ringfence-benchmark-") as name:
        folder = Path(name)
        if "guest-work" in parts:
            comparisons = guest_work.compare(folder, arguments.rounds, arguments.work)
            print("", *guest_work.table(comparisons), sep="\n", flush=True)
        if "boot" in parts:
            kernel, initrd = arguments.kernel, arguments.initrd
            if kernel is None:
                kernel, initrd = fetch_debian()
            comparison = boot.compare(kernel, initrd, folder, arguments.rounds)
            print("", *boot.table(comparison), sep="\n")


main()
