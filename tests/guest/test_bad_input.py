"""Bad input gets one clear line on stderr and exit status 2, never a traceback, and before anything runs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.image.debian import Guest


def ringfence(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ringfence", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )


def refused(*arguments: str | Path, environment: dict[str, str] | None = None) -> str:
    """The one line that `ringfence` says; fails when it is not that."""
    done = ringfence(*arguments, environment=environment)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ringfence: "), done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def elf(machine: int, bits: int = 64) -> bytes:
    """The head of an ELF executable for another machine."""
    ident = b"\x7fELF" + bytes((2 if bits == 64 else 1, 1, 1)) + bytes(9)
    return ident + (2).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(4096)


KERNELS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "one byte": lambda good: b"\x90",
    "truncated in the setup code": lambda good: good[:0x300],
    "truncated": lambda good: good[: len(good) // 2],
    "not a kernel": lambda good: b"#!/bin/sh\n" + b"echo no kernel\n" * 500,
    "a gzip file": lambda good: b"\x1f\x8b\x08" + bytes(range(256)) * 64,
    "for arm64": lambda good: elf(183),
    "for riscv": lambda good: elf(243),
    "for ppc": lambda good: elf(20, bits=32),
    "arm64 image": lambda good: bytes(0x38) + b"ARMd" + bytes(8192),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_a_kernel_that_is_none(kind: str, debian: Guest, tmp_path: Path) -> None:
    path = tmp_path / "kernel-under-test"
    path.write_bytes(KERNELS[kind](debian.kernel.read_bytes()))
    assert "kernel-under-test" in refused("run", "--kernel", path)


def test_files_that_cannot_be_read(debian: Guest, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert "missing" in refused("run", "--kernel", missing)
    assert "missing" in refused("run", "--kernel", debian.kernel, "--initrd", missing)
    assert "missing" in refused("run", "--kernel", debian.kernel, "--disk", missing)
    assert "missing" in refused("run", "--firmware", missing)
    for option in ("--kernel", "--firmware"):
        assert str(tmp_path) in refused("run", option, tmp_path)
    assert str(tmp_path) in refused("run", "--kernel", debian.kernel, "--disk", tmp_path)


@pytest.mark.parametrize("size", [0, 100, 65535, 40 << 20])
def test_firmware_of_no_rom_size(size: int, tmp_path: Path) -> None:
    rom = tmp_path / "rom.bin"
    rom.write_bytes(bytes(size))
    assert "rom.bin" in refused("run", "--firmware", rom)


@pytest.mark.parametrize(
    "memory", ["1M", "0", "8M", "lots", "-5", "", "1.5G", "512T", "99999999999999999999"]
)
def test_memory_that_is_no_use(memory: str, debian: Guest) -> None:
    refused("run", "--kernel", debian.kernel, "--initrd", debian.initrd, "--memory", memory)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cpu", "z80"],
        ["--engine", "magic"],
        ["--network", "carrier pigeon"],
        ["--network", "user", "--capture", "/no/such/folder/file.pcap"],
        ["--network", "user", "-p", "http"],
        ["--network", "user", "-p", "0.0.0.0:99999:80"],
        ["--network", "user", "-p", "192.0.2.77:8080:80"],
        ["--network", "user", "--allow", "no/where"],
        ["--network", "user", "--dns", "dns.example.org"],
        ["--network", "none", "--dns", "192.0.2.1"],
        ["--network", "none", "-p", "8080:80"],
        ["--debug-exit", "0x10000"],
        ["--debug-exit", "port"],
        ["--report", "xml"],
        ["--report", "/no/such/folder/r.json"],
        ["--no-such-option"],
        ["--disk", ",ro"],
        ["--append", "x" * 100_000],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense(arguments: list[str], debian: Guest) -> None:
    refused("run", "--kernel", debian.kernel, *arguments)


def test_guests_that_do_not_exist(debian: Guest) -> None:
    assert "plan9" in refused("run", "plan9")
    refused("run", "debian", "--kernel", debian.kernel)
    refused("run", "--kernel", debian.kernel, "--firmware", debian.kernel)
    refused("fly")


def test_a_disk_that_may_not_be_written(debian: Guest, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        disk = Path("/proc/version")  # root may write to any ordinary file
    else:
        disk = tmp_path / "disk.img"
        disk.write_bytes(bytes(1 << 20))
        disk.chmod(0o444)
    assert disk.name in refused("run", "--kernel", debian.kernel, "--disk", disk)


def test_a_disk_that_another_process_has_locked(debian: Guest, tmp_path: Path) -> None:
    disk = tmp_path / "busy.img"
    disk.write_bytes(bytes(1 << 20))
    with disk.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert "busy.img" in refused("run", "--kernel", debian.kernel, "--disk", disk)


def test_no_network_and_a_cold_cache(tmp_path: Path) -> None:
    line = refused(
        "run",
        "debian",
        "--mirror",
        "http://127.0.0.1:9/debian",
        environment={"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert "127.0.0.1" in line


def test_a_mirror_that_is_none(tmp_path: Path) -> None:
    refused("run", "debian", "--mirror", "debian", environment={"XDG_CACHE_HOME": str(tmp_path)})


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    refused("run", "debian", environment={"XDG_CACHE_HOME": str(file)})
