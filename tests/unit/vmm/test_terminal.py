"""The user's terminal: raw while the guest runs, restored on every way out."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
import textwrap

import pexpect
import pytest

ECHO_GUEST = textwrap.dedent(
    """
    import sys, threading, time
    from ringfence.vmm.terminal import Terminal

    left = threading.Event()
    def send(data):
        terminal.write(b"<" + data.hex().encode() + b">")
        if data.endswith(b"!"):
            left.set()
        if data.endswith(b"#"):
            import os, signal
            os.kill(os.getpid(), signal.SIGUSR1)
    def dies(*_):
        raise RuntimeError("a bug")
    import signal
    signal.signal(signal.SIGUSR1, dies)
    terminal = Terminal(send, left.set)
    with terminal:
        terminal.write(b"ready\\n")
        left.wait(20)
    print("left", flush=True)
    """
)


def spawn() -> pexpect.spawn[bytes]:
    child = pexpect.spawn(sys.executable, ["-c", ECHO_GUEST], timeout=10)
    child.expect(b"ready\n")
    return child


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_every_key_goes_to_the_guest_and_ctrl_bracket_leaves() -> None:
    child = spawn()
    assert is_raw(child.child_fd)
    child.send(b"\x03")
    child.expect(b"<03>")
    child.send(b"\x1d")
    child.expect(b"left")
    child.expect(pexpect.EOF)


@pytest.mark.parametrize("key", [b"\x1d", b"!", b"#"], ids=["leave", "guest ended", "exception"])
def test_the_terminal_is_restored_on_every_way_out(key: bytes) -> None:
    child = spawn()
    fd = os.dup(child.child_fd)
    assert is_raw(fd)
    child.send(key)
    child.expect([b"left", b"RuntimeError"])
    child.expect(pexpect.EOF)
    child.close()
    assert not is_raw(fd)
    os.close(fd)


def test_a_pipe_feeds_its_bytes_and_its_end_is_not_the_guests() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ECHO_GUEST], input=b"a\x1db!", capture_output=True, timeout=20
    )
    assert b"<611d6221>" in done.stdout, "Ctrl-] is data in a pipe"
    assert done.stderr == b""


@pytest.mark.parametrize("streams", ["<&-", "</dev/null", "<&- >&-"])
def test_closed_streams_are_no_reason_to_fail(streams: str) -> None:
    code = ECHO_GUEST.replace("left.wait(20)", "time.sleep(0.1)").replace('print("left", flush=True)', "")
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {streams}', sys.executable, code], capture_output=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_goes_away_ends_the_run() -> None:
    code = ECHO_GUEST.replace('print("left", flush=True)', "").replace(
        "left.wait(20)",
        "[terminal.write(b'x' * 65536) for _ in range(99) if not left.is_set()]; assert left.is_set()",
    )
    done = subprocess.run(
        ["sh", "-c", '{ "$0" -c "$1"; echo status $? >&2; } | head -c 10 >/dev/null', sys.executable, code],
        capture_output=True,
        timeout=20,
    )
    assert b"status 0" in done.stderr, done.stderr


def test_a_reader_that_does_not_read_holds_nobody_for_ever() -> None:
    read, write = os.pipe()
    code = ECHO_GUEST.replace(
        "left.wait(20)",
        "threading.Timer(0.2, terminal.release).start(); [terminal.write(b'x' * 65536) for _ in range(9)]",
    ).replace('print("left", flush=True)', "")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=write) as child:
        os.close(write)
        assert child.wait(20) == 0
    os.close(read)
