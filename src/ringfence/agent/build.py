"""Compiles the guest's program: C without a library, for any x86-64 Linux.

The same compiler gives the same bytes. setup.py calls it; a guest of another architecture has no agent yet.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from ringfence.agent import PROGRAM

SOURCES = Path(__file__).parent / "guest"
#: No start files, no libc, no position independence; -fno-tree-loop-distribute-patterns keeps the loops of
#: memset() and its like from becoming calls of themselves.
FLAGS = (
    "-static", "-nostdlib", "-ffreestanding", "-std=gnu11", "-Os", "-march=x86-64", "-fno-pie", "-no-pie",
    "-fno-stack-protector", "-fno-strict-aliasing", "-fcf-protection=none", "-fno-asynchronous-unwind-tables",
    "-fno-tree-loop-distribute-patterns", "-fno-ident", "-Wall", "-Wextra", "-Werror", "-s",
    "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,-z,norelro", "-Wl,-z,noseparate-code",
)  # fmt: skip


def compiler() -> list[str]:
    """That of the extension modules."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def build(target: Path) -> None:
    """Raises:
    subprocess.CalledProcessError: the compiler has said why.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = [path.name for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run([*compiler(), *FLAGS, "-o", target.resolve(), *sources], cwd=SOURCES, check=True)


if __name__ == "__main__":
    build(PROGRAM)
