"""Every ending and its exit status, by guests of a few real-mode instructions; streams and signals, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from ringfence.board import ports
from ringfence.devices.legacy.acpi_pm import SLP_TYP_S5

Assemble = Callable[[str], Path]
#: Sends al to the serial line; a guest of ours is always ready to send.
PUT = "mov $0x3f8, %dx\n out %al, %dx\n"
#: Waits for a byte from the serial line and leaves it in al.
GET = "1: mov $0x3fd, %dx\n in %dx, %al\n test $1, %al\n jz 1b\n mov $0x3f8, %dx\n in %dx, %al\n"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SLEEP_ENABLE_S5 = 1 << 13 | SLP_TYP_S5 << 10


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    def assemble(source: str) -> Path:
        (tmp_path / "code.s").write_text(f".code16\n.globl _start\n_start:\n{source}\n")
        elf, binary = tmp_path / "code.elf", tmp_path / "code.bin"
        link = "-Wl,-Ttext=0x7c00,--build-id=none,-melf_i386"
        source_file = tmp_path / "code.s"
        subprocess.run(["gcc", "-m32", "-nostdlib", "-static", link, "-o", elf, source_file], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", elf, binary], check=True)
        return binary

    return assemble


def command(binary: Path, *options: str) -> list[str]:
    base = [sys.executable, "-m", "ringfence", "run", "--kernel", str(binary), "--raw-at", "0x7c00"]
    return [*base, "--memory", "4M", *options]


def run(
    binary: Path, *options: str, stdin: bytes | None = b"", timeout: float = 30
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(binary, *options), input=stdin, capture_output=True, timeout=timeout)


@contextmanager
def started(binary: Path, *options: str, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The machine in the background: it hears every signal, whatever the tests' own shell ignores, and
    does not outlive the test."""

    def hear() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    child = subprocess.Popen(
        command(binary, *options), stdin=subprocess.DEVNULL, stdout=stdout, preexec_fn=hear
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_serial_output_and_the_debug_exits_value(assemble: Assemble) -> None:
    hello = "".join(f"mov ${ord(c)}, %al\n {PUT}" for c in "hi\n")
    done = run(assemble(hello + "mov $0x15, %al\n out %al, $0xf4\n hlt"), "--debug-exit", "0xf4")
    assert (done.returncode, done.stdout, done.stderr) == (0x2B, b"hi\n", b"")


def test_a_value_that_looks_like_a_signal_is_a_value(assemble: Assemble) -> None:
    value = (128 + signal.SIGTERM) >> 1
    done = run(assemble(f"mov ${value}, %al\n out %al, $0xf4\n hlt"), "--debug-exit", "0xf4")
    assert done.returncode == 128 + signal.SIGTERM


def test_power_off(assemble: Assemble) -> None:
    control = ports.ACPI_PM1_CONTROL.base
    code = f"mov ${control}, %dx\n mov ${SLEEP_ENABLE_S5}, %ax\n out %ax, %dx\n sti\n 1: hlt\n jmp 1b"
    done = run(assemble(code))
    assert (done.returncode, done.stderr) == (0, b"")


def test_halted_for_ever(assemble: Assemble) -> None:
    done = run(assemble("cli\n hlt"))
    assert done.returncode == 8
    assert done.stderr.startswith(b"ringfence: halted for ever")


def test_halted_with_interrupts_on_is_not_the_end(assemble: Assemble) -> None:
    """The timer that a PC starts with ticks on; the BIOS handler is not there, so the guest installs one."""
    code = """
        xor %ax, %ax
        mov %ax, %ds
        movw $tick, 0x20
        movw %ax, 0x22
        mov $0x11, %al
        out %al, $0x20
        mov $8, %al
        out %al, $0x21
        mov $4, %al
        out %al, $0x21
        mov $1, %al
        out %al, $0x21
        mov $0xfe, %al
        out %al, $0x21
        mov $0x34, %al
        out %al, $0x43
        mov $0, %al
        out %al, $0x40
        mov $0x10, %al
        out %al, $0x40
        sti
        mov $5, %cx
    wait:
        hlt
        loop wait
        mov $3, %al
        out %al, $0xf4
    tick:
        mov $0x20, %al
        out %al, $0x20
        iret
    """
    assert run(assemble(code), "--debug-exit", "0xf4").returncode == 7


def test_a_triple_fault_shows_registers_and_instructions(assemble: Assemble) -> None:
    code = "jmp 1f\n 1: mov $0x1234, %bx\n lidt none\n ud2\n none: .word 0\n .long 0"
    done = run(assemble(code))
    assert done.returncode == 6
    text = done.stderr.decode()
    assert text.startswith("ringfence: triple fault")
    assert "rbx 0000000000001234" in text
    assert "ud2" in text and "lidt" in text


@pytest.mark.parametrize(
    "code",
    [
        "mov $0xcf9, %dx\n mov $6, %al\n out %al, %dx",
        "mov $0xfe, %al\n out %al, $0x64",
        "mov $1, %al\n out %al, $0x92",
    ],
    ids=["reset control", "i8042", "port 92"],
)
def test_resets(code: str, assemble: Assemble) -> None:
    binary = assemble(f"mov $65, %al\n{PUT}{code}\n sti\n 1: hlt\n jmp 1b")
    done = run(binary, "--no-reboot")
    assert (done.returncode, done.stdout) == (4, b"A")
    assert b"reset" in done.stderr
    child = pexpect.spawn(command(binary)[0], command(binary)[1:], timeout=30)
    child.expect(b"AAAAA")
    child.send(b"\x1d")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_the_report_counts_what_nobody_claims(assemble: Assemble, tmp_path: Path) -> None:
    binary = assemble("mov $0x1234, %dx\n in %dx, %al\n in %dx, %al\n out %al, $0xf4")
    done = run(binary, "--debug-exit", "0xf4", "--report", "json")
    assert done.returncode == 0xFF, "an unclaimed port reads all ones"
    report = json.loads(done.stderr)
    assert report["unclaimed"] == [{"bus": "pio", "address": 0x1234, "is_write": False, "count": 2}]
    assert report["outcome"] == {"kind": "debug_exit", "value": 0xFF, "exit_status": 0xFF, "detail": ""}
    path = tmp_path / "r.json"
    run(binary, "--debug-exit", "0xf4", "--report", str(path))
    assert json.loads(path.read_text())["vcpus"][0]["exits"]["IO"] == 3


def test_the_debug_console_is_shown_to_who_asks(assemble: Assemble) -> None:
    code = "".join(f"mov ${ord(c)}, %al\n out %al, $0xe9\n" for c in "note\n")
    binary = assemble(code + "out %al, $0xf4")
    assert b"note" not in run(binary, "--debug-exit", "0xf4").stderr
    assert b"guest: note" in run(binary, "--debug-exit", "0xf4", "--verbose").stderr


ECHO_UNTIL_Q = f"{GET}cmp $113, %al\n je 2f\n {PUT}jmp 1b\n 2: xor %al, %al\n out %al, $0xf4"


def test_a_pipes_bytes_reach_the_guest(assemble: Assemble) -> None:
    text = bytes(range(32, 112)) * 200
    done = run(assemble(ECHO_UNTIL_Q), "--debug-exit", "0xf4", stdin=text + b"q", timeout=60)
    assert (done.returncode, done.stdout) == (1, text)


@pytest.mark.parametrize("streams", ["<&-", "</dev/null", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams(streams: str, assemble: Assemble) -> None:
    binary = assemble(f"mov $65, %al\n{PUT}mov $2, %al\n out %al, $0xf4")
    line = " ".join(command(binary, "--debug-exit", "0xf4"))
    done = subprocess.run(["sh", "-c", f"{line} {streams}"], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (5, b"")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_it_in_order(number: signal.Signals, assemble: Assemble, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    binary = assemble(f"mov $65, %al\n{PUT}1: jmp 1b")
    with started(binary, "--report", str(report), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.read(1) == b"A"
        child.send_signal(number)
        assert child.wait(30) == -number
    assert json.loads(report.read_text())["outcome"] == {
        "kind": "killed", "value": number, "exit_status": 128 + number, "detail": "",
    }  # fmt: skip


def test_a_signal_ends_it_even_when_nobody_reads(assemble: Assemble) -> None:
    read, write = os.pipe()
    binary = assemble(f"mov $65, %al\n1: {PUT}jmp 1b")
    with started(binary, stdout=write) as child:
        os.close(write)
        time.sleep(2)
        child.terminate()
        assert child.wait(30) == -signal.SIGTERM
    os.close(read)


def test_the_terminal_is_restored_when_the_guest_dies(assemble: Assemble) -> None:
    import termios

    binary = assemble("lidt none\n ud2\n none: .word 0\n .long 0")
    child = pexpect.spawn(command(binary)[0], command(binary)[1:], timeout=30)
    fd = os.dup(child.child_fd)
    child.expect(b"triple fault")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6
    assert termios.tcgetattr(fd)[3] & termios.ICANON
    os.close(fd)


def test_a_halted_guest_sleeps(assemble: Assemble) -> None:
    """It takes next to no time of the host's processor."""
    binary = assemble("mov $0xff, %al\n out %al, $0x21\n out %al, $0xa1\n sti\n 1: hlt\n jmp 1b")
    with started(binary) as child:
        time.sleep(2)
        ticks = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        time.sleep(2)
        later = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        child.terminate()
    used = sum(int(later[at]) - int(ticks[at]) for at in (11, 12)) / os.sysconf("SC_CLK_TCK")
    assert used < 0.3, f"{used} s of processor time in 2 s of halt"


def test_an_x87_error_arrives_as_interrupt_13(assemble: Assemble) -> None:
    """CR0.NE = 0, as DOS programs run: IRQ 13 of the 8259 pair; its handler clears the error."""
    code = """
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $0x7c00, %sp
        movw $handler, 0x75*4
        movw $0, 0x75*4+2
        mov $0x11, %al
        out %al, $0x20
        out %al, $0xa0
        mov $0x08, %al
        out %al, $0x21
        mov $0x70, %al
        out %al, $0xa1
        mov $0x04, %al
        out %al, $0x21
        mov $0x02, %al
        out %al, $0xa1
        mov $0x01, %al
        out %al, $0x21
        out %al, $0xa1
        mov $0xfb, %al
        out %al, $0x21
        mov $0xdf, %al
        out %al, $0xa1
        sti
        fninit
        movw $0x037b, 0x500
        fldcw 0x500
        fld1
        fldz
        fdivrp
        fwait
        mov %bl, %al
        out %al, $0xf4
        hlt
    handler:
        out %al, $0xf0
        fnclex
        inc %bl
        mov $0x20, %al
        out %al, $0xa0
        out %al, $0x20
        iret
    """
    done = run(assemble("xor %bx, %bx\n" + code), "--debug-exit", "0xf4")
    assert (done.returncode, done.stderr) == (2 * 1 + 1, b"")
