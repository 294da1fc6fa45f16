"""`python -m benchmarks [PART]...`: measure, and print tables in Markdown.

Needs gcc, nasm, dpkg-deb, bochs with bochsbios, qemu-system-x86, iperf3, passt, and a Debian mirror, or what
it gave before in the cache.
"""

from __future__ import annotations

import argparse
import platform
import re
import tempfile
from pathlib import Path

from benchmarks import boot, guest_work, kernels, managed, network, os_work, side_by_side
from ringfence import __version__
from ringfence.image.debian import fetch_debian

PARTS = ("guest-work", "kernels", "os-work", "boot", "network", "managed")


def host() -> str:
    """The CPU and what else a number depends on."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = f"{len(names)} x {names[0] if names else platform.processor()}"
    return f"Host: {cpu}; Python {platform.python_version()}; ringfence {__version__}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"what to measure: {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--work", action="append", default=[], help="only this work of a part, by its row's name; repeatable"
    )
    parser.add_argument("--scale", type=int, default=100, help="percent of the work of kernels and os-work")
    parser.add_argument("--engine", help="Ringfence's engine; its default by default")
    parser.add_argument("--cpu", help="Ringfence's CPU model; its default by default")
    parser.add_argument("--kernel", type=Path, help="boot this instead of the Debian guest; with --initrd")
    parser.add_argument("--initrd", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    return arguments


def tables(part: str, arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Measure one part."""
    rounds = arguments.rounds
    chosen = {"--engine": arguments.engine, "--cpu": arguments.cpu}
    options = [word for option, value in chosen.items() if value for word in (option, value)]
    if part == "guest-work":
        return guest_work.table(guest_work.compare(folder, rounds, arguments.work, options))
    kernel, initrd = arguments.kernel, arguments.initrd
    if kernel is None:
        kernel, initrd = fetch_debian()
    if part == "boot":
        return boot.table(boot.compare(kernel, initrd, folder, rounds, options))
    if part == "network":
        return network.table(network.compare(kernel, initrd, folder, rounds))
    if part == "managed":
        return managed.table(managed.compare(kernel, initrd, rounds))
    module = kernels if part == "kernels" else os_work
    plan = module.plan(kernel, folder)._replace(
        options=options, scale_percent=arguments.scale, names=arguments.work
    )
    return module.table(side_by_side.compare(plan, rounds))


def main() -> None:
    arguments = parsed()
    print(host(), flush=True)
    with tempfile.TemporaryDirectory(prefix="ringfence-benchmark-") as name:
        for part in arguments.part or PARTS:
            print("", *tables(part, arguments, Path(name)), sep="\n", flush=True)


main()
