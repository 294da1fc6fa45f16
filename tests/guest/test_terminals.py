"""`exec -it`, `top` and `stats` on a terminal: sizes, Ctrl-C, statuses, and the terminal as it was before."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest

from ringfence import VM
from ringfence.image.debian import Guest

SECONDS = 120
RINGFENCE = f"{shlex.quote(sys.executable)} -m ringfence"
#: of a shell in the guest: its prompt asks the terminal where the cursor is
PROMPT = r"# \x1b\[6n"


@pytest.fixture(scope="module")
def vm(debian: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VM]:
    """A machine of a user who has no other."""
    home = tmp_path_factory.mktemp("home")
    (home / "run").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        append = "console=ttyS0 quiet"
        with VM.create(debian.kernel, initrd=debian.initrd, append=append, name="box") as machine:
            machine.exec(["true"])
            yield machine


@contextmanager
def terminal(*lines: str) -> Iterator[pexpect.spawn]:
    """A terminal of 24 rows and 80 columns with a shell that runs these lines."""
    child = pexpect.spawn(
        "bash", ["-c", "\n".join(lines)], timeout=SECONDS, encoding="utf-8", dimensions=(24, 80)
    )
    child.delaybeforesend = None
    try:
        yield child
    finally:
        child.kill(signal.SIGKILL)
        child.close()


def end(child: pexpect.spawn) -> int | None:
    """Its status, once it has ended."""
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


def test_a_shell_in_the_guest(vm: VM) -> None:
    """The terminal's settings are the same after it."""
    with terminal("stty -g", f"{RINGFENCE} exec -it box sh", "echo status=$?", "stty -g") as child:
        child.expect(r"([0-9a-f:]{40,})\r\n")
        before = child.match.group(1)
        child.expect(PROMPT)
        child.send("stty size\r")
        child.expect(r"\n24 80\r")
        child.setwinsize(50, 132)
        child.expect(PROMPT)
        child.send("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; stty size\r")
        child.expect(r"\n50 132\r")
        child.expect(PROMPT)
        # said by the program itself: by then the terminal is its own
        child.send("sh -c 'echo asleep$((1)); exec sleep 1000'\r")
        child.expect(r"\nasleep1\r")
        child.send("\x03")
        child.expect(PROMPT)
        child.send("echo after=$?\r")
        child.expect(r"after=130\r")
        child.send("exit 7\r")
        child.expect(r"status=7\r\n")
        child.expect(r"([0-9a-f:]{40,})\r\n")
        assert child.match.group(1) == before
        assert end(child) == 0


def test_ctrl_c_ends_a_program_and_gives_its_status(vm: VM) -> None:
    with terminal(f"{RINGFENCE} exec -it box sh -c 'echo ready; sleep 1000'") as child:
        child.expect("ready\r\n")
        child.send("\x03")
        assert end(child) == 130
    assert "sleep 1000" not in vm.exec(["ps"]).stdout


def test_ctrl_c_without_a_terminal_in_the_guest(vm: VM) -> None:
    """Here the user's own terminal makes a signal of it, which is passed on."""
    script = "trap 'exit 9' INT; echo ready; sleep 1000 & wait"
    with terminal(f"{RINGFENCE} exec box sh -c {shlex.quote(script)}") as child:
        child.expect("ready\r\n")
        child.send("\x03")
        assert end(child) == 9
    vm.exec(["killall", "sleep"])


def test_a_terminal_is_put_in_order_when_the_machine_dies(vm: VM) -> None:
    with VM.create(**vm.inspect().config | {"name": "other"}) as other:
        other.exec(["true"])
        with terminal("stty -g", f"{RINGFENCE} exec -it other sh", "echo status=$?", "stty -g") as child:
            child.expect(r"([0-9a-f:]{40,})\r\n")
            before = child.match.group(1)
            child.expect(PROMPT)
            other.kill()
            child.expect(r"ringfence: [^\n]*went away[^\n]*\n")
            child.expect(r"status=[1-9]\d*\r\n")
            child.expect(r"([0-9a-f:]{40,})\r\n")
            assert child.match.group(1) == before


def test_top(vm: VM) -> None:
    with terminal(f"{RINGFENCE} top box") as child:
        child.expect("PID")
        child.expect(r"ringfence-agent")
        assert end(child) == 0


def test_stats_are_shown_again_and_again(vm: VM) -> None:
    with terminal("trap : INT; stty -g", f"{RINGFENCE} stats box", "echo status=$?", "stty -g") as child:
        child.expect(r"([0-9a-f:]{40,})\r\n")
        before = child.match.group(1)
        seconds = set()
        while len(seconds) < 3:
            child.expect(r"box +[^\n]* (\d+) s")
            seconds.add(child.match.group(1))
        child.send("\x03")
        child.expect(r"status=130\r\n")
        child.expect(r"([0-9a-f:]{40,})\r\n")
        assert child.match.group(1) == before
