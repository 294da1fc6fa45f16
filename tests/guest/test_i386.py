"""Debian's 32-bit kernel (686-pae) to a shell: protected mode, PAE paging, 32-bit user space."""

from __future__ import annotations

from pathlib import Path

from session import Session

from ringfence import Machine
from ringfence.api.messages import Get, Put
from ringfence.host import copy
from ringfence.image.debian import Guest

SECONDS = 60


def test_the_32_bit_kernel_boots_runs_commands_and_powers_off(debian_i386: Guest, engine: str) -> None:
    session = Session(
        "--kernel", debian_i386.kernel, "--initrd", debian_i386.initrd, "--append", "console=ttyS0 quiet",
        "--engine", engine,
    ).boot()  # fmt: skip
    try:
        assert session.run("uname -m") == "i686"
        assert session.run("seq 1 500 | sort -r | awk '{s += $1} END {print s}'") == "125250"
        assert session.run("sh -c 'kill -SEGV $$'; echo $?").endswith("139")
        assert session.power_off() == 0
    finally:
        session.kill()


def test_it_boots_on_a_pentium_class_model_too(debian_i386: Guest) -> None:
    session = Session(
        "--kernel", debian_i386.kernel, "--initrd", debian_i386.initrd, "--append", "console=ttyS0 quiet",
        "--cpu", "pentium3", "--memory", "128M",
    ).boot()  # fmt: skip
    try:
        assert "sse2" not in session.run("grep flags /proc/cpuinfo").split()
        assert session.power_off() == 0
    finally:
        session.kill()


def test_its_agent_runs_programs_and_copies_files(debian_i386: Guest, tmp_path: Path) -> None:
    """The rest of `test_agent.py` is run nightly."""
    with Machine(
        debian_i386.kernel, initrd=debian_i386.initrd, append="console=ttyS0 quiet", agent=True
    ) as vm:  # fmt: skip
        vm.start()
        vm.agent.wait_ready(SECONDS)
        done = vm.agent.exec(["sh", "-c", "cat; uname -m >&2; exit 3"], input=b"in", timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"in", b"i686\n")
        source = tmp_path / "source"
        source.write_bytes(bytes(range(256)) * 1000)
        copy.put(vm.agent.open_put(Put("/tmp/file", source.name)), source)
        copy.get(vm.agent.open_get(Get("/tmp/file")), tmp_path / "back", "file")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        assert (tmp_path / "back").stat().st_mtime_ns == source.stat().st_mtime_ns
