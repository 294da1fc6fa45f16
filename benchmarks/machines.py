"""The commands that boot a Linux guest: Ringfence, and QEMU's TCG as it comes, with its default CPU model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple


class Guest(NamedTuple):
    """What a machine boots, and with what."""

    kernel: Path
    initrd: Path
    append: str
    memory: str = "512M"


def ringfence(guest: Guest, *options: str) -> list[str]:
    """Our command; ``options`` are those of `ringfence run`."""
    command = [sys.executable, "-m", "ringfence", "run", "--memory", guest.memory, *options]
    return [
        *command, "--kernel", str(guest.kernel), "--initrd", str(guest.initrd), "--append", guest.append
    ]  # fmt: skip


def qemu(guest: Guest) -> list[str]:
    command = ["qemu-system-x86_64", "-accel", "tcg", "-nographic", "-no-reboot", "-m", guest.memory]
    return [*command, "-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.append]
