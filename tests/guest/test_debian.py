"""Debian's cloud kernel, as it is: to a shell that runs commands, and off again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pexpect
from session import Session

from benchmarks.guest_console import BOOT_SECONDS, PROMPT
from ringfence.image.debian import Guest


def test_one_command_boots_debian_to_a_shell_and_off(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    session = Session("debian", "--report", report)
    session.boot()
    assert session.run("uname -sm") == "Linux x86_64"
    assert session.run("echo $((6 * 7))") == "42"
    assert "ringfence" in session.run("hostname")
    assert session.power_off() == 0
    written = json.loads(report.read_text())
    assert written["outcome"]["kind"] == "power_off"
    (vcpu,) = written["vcpus"]
    assert vcpu["exits"]["IO"] > 1000
    assert vcpu["instructions"] > 10_000_000
    assert vcpu["guest_ns"] > 0 and vcpu["mips"] > 1
    assert vcpu["counters"]["tlb_misses"] > 1000
    assert vcpu["interrupts"], "a kernel boots on timer interrupts"


def test_ctrl_bracket_leaves_a_running_guest() -> None:
    session = Session("debian")
    session.expect("Ctrl-] leaves")
    session.child.send("\x1d")
    assert session.end() == 0


def test_a_kernel_says_nothing_bad_about_the_machine(shell: Session) -> None:
    log = shell.run("dmesg")
    for word in (
        "BUG:",
        "WARNING:",
        "Oops",
        "unhandled",
        "Marking TSC unstable",
        "firmware bug",
        "nobody cared",
    ):
        assert word.lower() not in log.lower(), log
    assert "kvm-clock: Using msrs" in log
    assert "Switched to clocksource tsc" in log, "the kernel found the TSC wanting"


def test_the_guests_clock_keeps_time(shell: Session) -> None:
    """One second by the guest's own sleep is one second of /proc/uptime, and of ours to a few percent."""
    begin = time.monotonic()
    shell.run("sleep 3")
    assert 2.9 < time.monotonic() - begin < 6
    first, second = shell.run("cut -d' ' -f1 /proc/uptime; sleep 2; cut -d' ' -f1 /proc/uptime").split()
    assert 1.9 < float(second) - float(first) < 4
    wall = float(shell.run("date +%s"))
    assert abs(wall - time.time()) < 10, "the RTC gave the wrong time"


def test_line_editing_and_ctrl_c_reach_the_guest() -> None:
    session = Session("debian")
    try:
        session.expect(PROMPT, BOOT_SECONDS)
        session.child.send("echo onx\x7fe\r")
        session.expect("\none\r")
        session.expect(PROMPT)
        session.child.send("echo go''ing; sleep 1000\r")
        session.expect("going\r")
        time.sleep(1)
        session.child.send("\x03")
        session.expect(PROMPT)
    finally:
        session.kill()


def test_reboot_boots_again_or_ends_with_its_status(debian: Guest) -> None:
    base = ["--kernel", debian.kernel, "--initrd", debian.initrd, "--append", "console=ttyS0 quiet"]
    session = Session(*base)
    try:
        session.expect(PROMPT, BOOT_SECONDS)
        session.child.send("touch /root/gone; reboot\r")
        session.expect("turns the machine off", BOOT_SECONDS)
        session.boot()
        assert session.run("ls /root") == "", "a reboot must start from the kernel's files again"
        assert session.power_off() == 0
    finally:
        session.kill()
    session = Session(*base, "--no-reboot").boot()
    session.child.sendline("reboot")
    session.child.expect("reset the machine", timeout=60)
    assert session.end() == 4


def test_a_kernel_without_an_initrd_panics_and_goes_on_panicking(debian: Guest) -> None:
    session = Session("--kernel", debian.kernel, "--append", "console=ttyS0 panic=-1", "--no-reboot")
    session.expect("Kernel panic - not syncing: VFS", BOOT_SECONDS)
    assert session.child.expect([pexpect.EOF], timeout=60) == 0
    session.child.close()
    assert session.child.exitstatus == 4, "panic=-1 resets"
