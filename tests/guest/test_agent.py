"""The guest's agent in Debian: programs with all their streams, files both ways, the clock and the name."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ringfence import Machine
from ringfence.agent import wire
from ringfence.api import codec, frames
from ringfence.api.frames import Channel, Duplex
from ringfence.api.messages import Exec, Exit, Get, Put
from ringfence.errors import AgentError, UserError
from ringfence.host import copy
from ringfence.host.copy import CopyFailed
from ringfence.image.debian import Guest
from ringfence.vmm.agent import Agent

SECONDS = 60


@pytest.fixture(scope="module", params=["debian", pytest.param("debian_i386", marks=pytest.mark.nightly)])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Of each architecture."""
    debian: Guest = request.getfixturevalue(request.param)
    with Machine(debian.kernel, initrd=debian.initrd, append="console=ttyS0 quiet", agent=True) as vm:
        vm.start()
        vm.agent.wait_ready(SECONDS)
        yield vm


@pytest.fixture
def agent(machine: Machine) -> Agent:
    return machine.agent


def drain(duplex: Duplex) -> tuple[dict[Channel, bytes], Exit]:
    """All output by channel, and the end."""
    output = {Channel.STDOUT: b"", Channel.STDERR: b""}
    while (frame := duplex.receive()) is not None:
        channel, payload = frame
        if channel is Channel.EXIT:
            assert duplex.receive() is None
            return output, codec.decode_exit(payload)
        if channel in output:
            output[channel] += payload
    raise AssertionError("no EXIT")


def copy_in(agent: Agent, source: Path, target: str) -> None:
    copy.put(agent.open_put(Put(target, source.name)), source)


def copy_out(agent: Agent, source: str, target: Path) -> None:
    copy.get(agent.open_get(Get(source)), target, Path(source).name)


# -- programs --


def test_streams_and_status(agent: Agent) -> None:
    done = agent.exec(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in\n", timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in\n", b"err\n")


def test_standard_input_is_empty_where_there_is_none(agent: Agent) -> None:
    assert agent.exec(["cat"], timeout=SECONDS).stdout == b""


def test_environment_folder_and_user(agent: Agent) -> None:
    command = 'echo "$GREETING|$HOME|$(pwd)|$(id -u):$(id -g)"; touch /etc/root-only 2>/dev/null || echo no'
    done = agent.exec(
        ["sh", "-c", command], env={"GREETING": "grüß dich"}, cwd="/proc/sys", user="65534:7", timeout=SECONDS
    )
    assert done.stdout.decode() == "grüß dich|/|/proc/sys|65534:7\nno\n"
    assert agent.exec(["pwd"], timeout=SECONDS).stdout == b"/root\n"


def test_what_cannot_be_run(agent: Agent) -> None:
    done = agent.exec(["no-such-program"], timeout=SECONDS)
    assert (done.returncode, done.stderr) == (127, b"exec: no-such-program: not found\n")
    assert agent.exec(["/etc/passwd"], timeout=SECONDS).returncode == 126
    assert agent.exec(["true"], cwd="/nowhere", timeout=SECONDS).returncode == 126
    with pytest.raises(AgentError, match="Permission denied"):
        agent.exec(["true"], user="nobody-knows", timeout=SECONDS)
    with pytest.raises(UserError):
        agent.exec(["a\0b"])
    with pytest.raises(AgentError, match="too long"):
        agent.exec(["echo", "x" * 40_000])


def test_signals_and_limits(agent: Agent) -> None:
    process = agent.start(["sleep", "1000"])
    process.signal(signal.SIGTERM)
    assert process.wait(SECONDS) == -signal.SIGTERM
    with pytest.raises(TimeoutError):
        agent.exec(["sleep", "1000"], timeout=0.2)
    assert b"sleep 1000" not in agent.exec(["ps"], timeout=SECONDS).stdout


def test_a_program_that_leaves_a_child_behind(agent: Agent) -> None:
    start = time.monotonic()
    done = agent.exec(["sh", "-c", "sleep 100 & echo started"], timeout=SECONDS)
    assert done.stdout == b"started\n"
    assert time.monotonic() - start < SECONDS
    agent.exec(["killall", "sleep"], timeout=SECONDS)


def test_much_output_and_a_slow_reader(agent: Agent) -> None:
    process = agent.start(["sh", "-c", "head -c 3000000 /dev/zero; echo end >&2"])
    time.sleep(0.3)
    assert process.returncode is None, "the window lets no more through"
    assert process.stdout.read() == bytes(3_000_000)
    assert process.stderr.read() == b"end\n"
    assert process.wait(SECONDS) == 0


def test_much_input_through_a_slow_program(agent: Agent) -> None:
    data = os.urandom(1_000_000)
    done = agent.exec(["sh", "-c", "sleep 0.3; sha256sum"], input=data, timeout=SECONDS)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_input_that_nobody_reads(agent: Agent) -> None:
    assert agent.exec(["true"], input=bytes(1_000_000), timeout=SECONDS).returncode == 0


def test_a_terminal(agent: Agent) -> None:
    process = agent.start(["sh"], tty=True, size=(30, 100), env={"PS1": "$ "})
    process.stdin.write(b"stty -echo; stty size; tty\n")
    process.resize(40, 120)
    process.stdin.write(b"sleep 1000\n")
    time.sleep(0.5)
    process.stdin.write(b"\x03")
    process.stdin.write(b"stty size; exit 5\n")
    output = process.stdout.read(timeout=SECONDS)
    assert process.wait(SECONDS) == 5
    assert b"/dev/pts/" in output and b"40 120" in output


def test_a_terminals_last_words_and_its_end_of_input(agent: Agent) -> None:
    for _ in range(20):
        process = agent.start(["sh", "-c", "cat; echo last words"], tty=True)
        process.stdin.close()
        assert process.stdout.read(timeout=SECONDS) == b"last words\r\n"
        assert process.wait(SECONDS) == 0


def test_many_at_once(agent: Agent) -> None:
    processes = [agent.start(["sh", "-c", f"cat; exit {n}"]) for n in range(32)]
    with pytest.raises(AgentError, match="at once"):
        agent.start(["true"])
    for process in processes:
        process.stdin.write(b"hello")
        process.stdin.close()
    for n, process in enumerate(processes):
        assert process.stdout.read() == b"hello"
        assert process.wait(SECONDS) == n


def test_frames_for_a_front_end(agent: Agent) -> None:
    duplex = agent.open_exec(Exec(("sh", "-c", "cat; echo err >&2; kill -9 $$")))
    duplex.send(Channel.STDIN, b"hello")
    duplex.send(Channel.EOF, bytes([Channel.STDIN]))
    output, exit = drain(duplex)
    assert output == {Channel.STDOUT: b"hello", Channel.STDERR: b"err\n"}
    assert exit == Exit(137, signal=9)
    duplex = agent.open_exec(Exec(("sleep", "1000")))
    duplex.send(Channel.SIGNAL, bytes([signal.SIGINT]))
    assert drain(duplex)[1] == Exit(130, signal=signal.SIGINT)
    with pytest.raises(frames.BadFrame):
        agent.open_exec(Exec(("sleep", "0"))).send(Channel.STDIN, bytes(frames.FIRST_WINDOW + 1))


def test_a_round_trip_is_short(agent: Agent) -> None:
    times = []
    for _ in range(40):
        start = time.perf_counter()
        assert agent.exec(["true"], timeout=SECONDS).returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.010


# -- files --


def test_a_large_file_both_ways(agent: Agent, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 24
    (tmp_path / "large").write_bytes(data)
    copy_in(agent, tmp_path / "large", "/tmp")
    digest = agent.exec(["sha256sum", "/tmp/large"], timeout=SECONDS).stdout.split()[0].decode()
    assert digest == hashlib.sha256(data).hexdigest()
    copy_out(agent, "/tmp/large", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == data
    agent.exec(["rm", "/tmp/large"])


def test_a_tree_both_ways(agent: Agent, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below" / "empty").mkdir(parents=True)
    (tree / "below" / "script").write_text("#!/bin/sh\necho run\n")
    (tree / "below" / "script").chmod(0o755)
    (tree / "nothing").touch()
    (tree / "link").symlink_to("below/script")
    (tree / os.fsdecode(b"odd \xff\n")).write_text("name")
    os.utime(tree / "nothing", ns=(1_000_000_007, 1_000_000_007))
    copy_in(agent, tree, "/tmp")
    assert agent.exec(["/tmp/tree/link"], timeout=SECONDS).stdout == b"run\n"
    copy_out(agent, "/tmp/tree", tmp_path / "again")
    again = tmp_path / "again"
    assert sorted(p.relative_to(again) for p in again.rglob("*")) == sorted(
        p.relative_to(tree) for p in tree.rglob("*")
    )
    assert (again / "below" / "script").stat().st_mode & 0o777 == 0o755
    assert (again / "nothing").stat().st_mtime_ns == 1_000_000_007
    assert os.readlink(again / "link") == "below/script"
    copy_in(agent, tree, "/tmp")  # over itself
    copy_in(agent, tree / "nothing", "/tmp/renamed")
    assert agent.exec(["ls", "/tmp/renamed"], timeout=SECONDS).returncode == 0
    listed = agent.exec(["find", "/tmp", "-name", ".rf*"], timeout=SECONDS)
    assert listed.stdout == b"", "what a copy writes to first is gone"


def test_what_cannot_be_copied(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(CopyFailed, match="No such file"):
        copy_out(agent, "/nowhere", tmp_path)
    with pytest.raises(UserError, match="No such file"):
        copy_in(agent, tmp_path / "nowhere", "/tmp")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CopyFailed, match="No such file"):
        copy_in(agent, tmp_path / "file", "/nowhere/file")
    with pytest.raises(UserError, match="No such file"):
        copy_out(agent, "/etc/passwd", tmp_path / "nowhere" / "file")


def test_files_without_a_size(agent: Agent, tmp_path: Path) -> None:
    copy_out(agent, "/proc/version", tmp_path / "version")
    assert (tmp_path / "version").read_text().startswith("Linux version")


# -- the guest itself --


def test_frames_that_make_no_sense(agent: Agent) -> None:
    """The agent trusts its host, but must not fall over it."""
    pid = agent.exec(["pidof", "ringfence-agent"], timeout=SECONDS).stdout
    random = Random(4)
    kinds = [kind for kind in wire.Type if kind not in (wire.Type.SHUTDOWN, wire.Type.HELLO)]
    connection = agent._connection
    for _ in range(40):
        for _ in range(25):
            payload = random.randbytes(random.choice([0, 1, 4, 7, 12, 40, 300, 5000]))
            if random.random() < 0.5:
                payload += b"/tmp/x\0" * random.randrange(4)
            number, channel = random.randrange(40), random.randrange(5)
            connection._send(wire.frame(number, random.choice(kinds), payload, channel))
        # Its answers are to nobody, which ends the connection; a HELLO begins it anew.
        deadline = time.monotonic() + SECONDS
        while connection._outgoing or not agent.is_ready:
            assert time.monotonic() < deadline
            if not agent.is_ready:
                connection._greet()
            time.sleep(0.02)
    assert agent.exec(["pidof", "ringfence-agent"], timeout=SECONDS).stdout == pid


def test_clock_and_identity(agent: Agent) -> None:
    agent.set_clock(1_700_000_000_000_000_000)
    assert int(agent.exec(["date", "+%s"], timeout=SECONDS).stdout) - 1_700_000_000 < SECONDS
    agent.set_clock()
    assert abs(int(agent.exec(["date", "+%s"], timeout=SECONDS).stdout) - time.time()) < SECONDS
    agent.set_identity("another", machine_id="0123456789abcdef0123456789abcdef")
    assert agent.exec(["hostname"], timeout=SECONDS).stdout == b"another\n"
    assert agent.exec(["cat", "/etc/machine-id"], timeout=SECONDS).stdout.startswith(b"0123456789abcdef")


def test_an_agent_that_is_killed_comes_to_nothing_and_a_new_one_serves(machine: Machine) -> None:
    agent = machine.agent
    waiting = agent.start(["sleep", "1000"])
    killer = agent.start(["sh", "-c", "killall -9 ringfence-agent; sleep 0.2; ringfence-agent & sleep 0.1"])
    for process in (waiting, killer):
        with pytest.raises(AgentError, match="went away"):
            process.wait(SECONDS)
    agent.wait_ready(SECONDS)
    assert agent.exec(["echo", "back"], timeout=SECONDS).stdout == b"back\n"


def test_shut_down(debian: Guest) -> None:
    with Machine(debian.kernel, initrd=debian.initrd, append="console=ttyS0 quiet", agent=True) as vm:
        vm.start()
        vm.agent.shut_down(reboot=True)
        vm.agent.wait_ready(SECONDS)
        deadline = time.monotonic() + SECONDS
        while vm.reboots == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        vm.agent.shut_down()
        assert vm.wait(SECONDS).exit_status == 0
        with pytest.raises(AgentError, match="ended"):
            vm.agent.exec(["true"])


def test_a_machine_without_a_port(debian: Guest) -> None:
    with Machine(debian.kernel) as vm, pytest.raises(AgentError, match="agent=True"):
        vm.agent.exec(["true"])
