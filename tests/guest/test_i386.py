"""Debian's 32-bit kernel (686-pae) to a shell: protected mode, PAE paging, 32-bit user space."""

from __future__ import annotations

from session import Session

from ringfence.image.debian import Guest


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
