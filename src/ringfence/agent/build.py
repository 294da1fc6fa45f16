"""Compiles the guest's program: C without a library, for any Linux on x86-64 and i386.

The same compiler gives the same bytes. setup.py calls it. No 32-bit library of the host's is needed, not even
the compiler's own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from ringfence.agent import PROGRAMS

SOURCES = Path(__file__).parent / "guest"
#: No start files, no libc, no position independence; -fno-tree-loop-distribute-patterns keeps the loops of
#: memset() and its like from becoming calls of themselves.
FLAGS = (
    "-static", "-nostdlib", "-ffreestanding", "-std=gnu11", "-Os", "-fno-pie", "-no-pie",
    "-fno-stack-protector", "-fno-strict-aliasing", "-fcf-protection=none", "-fno-asynchronous-unwind-tables",
    "-fno-tree-loop-distribute-patterns", "-fno-ident", "-Wall", "-Wextra", "-Werror", "-s",
    "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,-z,norelro", "-Wl,-z,noseparate-code",
)  # fmt: skip
ARCHITECTURES = {"amd64": ("-m64", "-march=x86-64"), "i386": ("-m32", "-march=i586")}


def compiler() -> list[str]:
    """That of the extension modules."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def build(arch: str, target: Path) -> None:
    """Raises:
    subprocess.CalledProcessError: the compiler has said why.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = [path.name for path in sorted(SOURCES.glob("*.c"))]
    flags = (*ARCHITECTURES[arch], *FLAGS)
    subprocess.run([*compiler(), *flags, "-o", target.resolve(), *sources], cwd=SOURCES, check=True)


if __name__ == "__main__":
    for arch, program in PROGRAMS.items():
        build(arch, program)
