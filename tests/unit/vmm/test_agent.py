"""The host's end of the agent: what a guest may say, and what it may not."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest
from fake_agent import FakeAgent, encode_done
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.agent import wire
from ringfence.agent.wire import Type
from ringfence.api import codec, frames
from ringfence.api.frames import BadFrame, Channel
from ringfence.api.messages import Exec, Exit, Get
from ringfence.errors import AgentError, UserError
from ringfence.vmm.agent import patience
from ringfence.vmm.agent.connection import FRAMES_MAX
from ringfence.vmm.agent.patience import IDLE_SECONDS, READY_SECONDS, wait_patiently
from ringfence.vmm.agent.stream import INPUT_WAITS


@pytest.fixture
def guest() -> FakeAgent:
    guest = FakeAgent()
    guest.open()
    return guest


def in_background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_no_agent_is_one_line() -> None:
    guest = FakeAgent()
    with pytest.raises(AgentError, match="no agent answers"):
        guest.host.wait_ready(0.01)
    guest.host.close()
    with pytest.raises(AgentError, match="has ended"):
        guest.host.exec(["true"])


def test_a_guest_that_does_nothing_has_no_agent_to_wait_for() -> None:
    looks: list[float] = []

    def idle() -> bool:
        return len(looks) % 20 != 0  # awake now and then, as any guest is

    def nobody(seconds: float) -> bool:
        looks.append(seconds)
        return False

    assert not wait_patiently(nobody, idle)
    assert IDLE_SECONDS <= sum(looks) < 3 * IDLE_SECONDS


def test_a_guest_that_boots_is_waited_for() -> None:
    looks: list[float] = []

    def late(seconds: float) -> bool:
        looks.append(seconds)
        return sum(looks) > READY_SECONDS - 1

    assert wait_patiently(late, lambda: len(looks) % 5 != 0)  # it sleeps most of the time, yet works


def test_no_guest_is_waited_for_for_ever() -> None:
    looks: list[float] = []

    def nobody(seconds: float) -> bool:
        looks.append(seconds)
        return False

    assert not wait_patiently(nobody, lambda: False)
    assert sum(looks) == pytest.approx(READY_SECONDS)


def test_no_agent_in_an_idle_guest_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = FakeAgent(is_idle=lambda: True)
    monkeypatch.setattr(patience, "IDLE_SECONDS", 0.1)
    with pytest.raises(AgentError, match="no agent answers"):
        guest.host.exec(["true"])


def test_only_the_nonce_that_was_sent_is_an_answer() -> None:
    guest = FakeAgent()
    guest.port.is_open = True
    guest.port.on_open(True)
    guest.send(0, Type.HELLO, wire.hello(1)[wire.HEADER.size :])
    guest.send(3, Type.DATA, b"of an earlier agent", wire.OUT)
    assert not guest.host.is_ready
    guest.answer_hello()
    assert guest.host.is_ready


def test_a_program(guest: FakeAgent) -> None:
    process = guest.host.start(["prog", "arg"], env={"A": "b"}, cwd="/", user="me")
    (start,) = guest.take()
    assert start.type == Type.EXEC and start.payload[10:] == b"me\0/\0prog\0arg\0A=b\0"
    process.stdin.write(b"hello")
    process.stdin.close()
    assert [(f.type, f.payload) for f in guest.take()] == [(Type.DATA, b"hello"), (Type.END, b"")]
    guest.send(start.stream, Type.DATA, b"out", wire.OUT)
    guest.send(start.stream, Type.DATA, b"err", wire.ERR)
    assert process.returncode is None
    assert process.stdout.read(2) == b"ou"
    guest.done(start.stream, value=3)
    assert (process.stdout.read(), process.stderr.read(), process.wait(1)) == (b"t", b"err", 3)


def test_input_keeps_to_the_window(guest: FakeAgent) -> None:
    process = guest.host.start(["cat"])
    guest.take()
    with pytest.raises(TimeoutError):
        process.stdin.write(bytes(INPUT_WAITS + wire.INPUT_WINDOW + wire.DATA_MAX * 2), timeout=0.05)
    sent = guest.take()
    assert sum(len(frame.payload) for frame in sent) == wire.INPUT_WINDOW
    guest.send(sent[0].stream, Type.WINDOW, wire.window(100))
    assert [len(frame.payload) for frame in guest.take()] == [100]
    # More than a window at once is not believed.
    guest.send(sent[0].stream, Type.WINDOW, wire.window(0xFFFF_FFFF))
    assert sum(len(frame.payload) for frame in guest.take()) == wire.INPUT_WINDOW


def test_output_is_allowed_again_as_it_is_read(guest: FakeAgent) -> None:
    process = guest.host.start(["yes"])
    guest.take()
    for _ in range(wire.OUTPUT_WINDOW // 16384):
        guest.send(0, Type.DATA, bytes(16384), wire.OUT)
    assert guest.take() == []
    left = wire.OUTPUT_WINDOW // 4
    while left:
        left -= len(process.stdout.read(min(left, 10_000)))
    (window,) = guest.take()
    assert (window.type, wire.parse_window(window.payload)) == (Type.WINDOW, wire.OUTPUT_WINDOW // 4)


@pytest.mark.parametrize(
    "lie",
    [
        (0, Type.DATA, bytes(10), wire.IN),
        (0, Type.DATA, b"", wire.OUT),
        (0, Type.DATA, bytes(10), 7),
        (0, Type.END, b"", 9),
        (0, Type.WINDOW, b"123", 0),
        (0, Type.DONE, b"", 0),
        (0, Type.DONE, encode_done(wire.Done(9, 0)), 0),
        (0, Type.EXEC, b"", 0),
        (1, Type.DATA, bytes(10), wire.OUT),
        (40_000, Type.DONE, encode_done(wire.Done(0, 0)), 0),
    ],
)
def test_an_agent_that_breaks_the_protocol_is_heard_no_more(
    guest: FakeAgent, lie: tuple[int, Type, bytes, int]
) -> None:
    process = guest.host.start(["true"])
    guest.send(*lie)
    with pytest.raises(AgentError, match="went away"):
        process.wait(1)
    assert not guest.host.is_ready and guest.host.metrics()["protocol_errors"] == 1
    guest.send(0, Type.DATA, b"more", wire.OUT)
    guest.close()
    guest.open()
    assert guest.host.is_ready


def test_more_output_than_the_window_breaks_the_protocol(guest: FakeAgent) -> None:
    process = guest.host.start(["yes"])
    for _ in range(wire.OUTPUT_WINDOW // 16384 + 1):
        guest.send(0, Type.DATA, bytes(16384), wire.OUT)
    with pytest.raises(AgentError, match="went away"):
        process.wait(1)


def test_a_frame_without_end_breaks_the_protocol(guest: FakeAgent) -> None:
    guest.port.sink(wire.HEADER.pack(1 << 30, 0, Type.DATA, wire.OUT))
    assert not guest.host.is_ready
    guest.port.sink(bytes(1 << 20))
    assert len(guest.host._connection._parser._waiting) < wire.FRAME_MAX


def test_streams_are_few_and_their_numbers_return(guest: FakeAgent) -> None:
    for _ in range(wire.STREAMS):
        guest.host.start(["sleep"])
    with pytest.raises(AgentError, match="at once"):
        guest.host.start(["sleep"])
    guest.done(5)
    guest.host.start(["sleep"])
    assert guest.take()[-1].stream == 5


def test_whole_frames_wait_for_room(guest: FakeAgent) -> None:
    guest.port.room_bytes = 30
    process = guest.host.start(["cat"])
    process.signal(15)
    process.resize(1, 2)
    assert [[frame.type for frame in guest.take()] for _ in range(3)] == [
        [Type.EXEC], [Type.SIGNAL, Type.RESIZE], []
    ]  # fmt: skip


def test_an_agent_that_takes_nothing_is_given_up(guest: FakeAgent) -> None:
    process = guest.host.start(["cat"])
    guest.take()
    guest.port.room_bytes = 0
    for _ in range(FRAMES_MAX + 1):
        process.resize(1, 2)
    with pytest.raises(AgentError, match="went away"):
        process.wait(1)
    assert len(guest.host._connection._outgoing) == 0
    guest.port.room_bytes = 1 << 30
    guest.close()
    guest.open()
    assert guest.host.is_ready


def test_a_failure_has_the_guests_reason(guest: FakeAgent) -> None:
    process = guest.host.start(["true"], user="who")
    guest.done(0, wire.FAILED, errno.EACCES)
    with pytest.raises(AgentError, match="Permission denied"):
        process.wait(1)
    process = guest.host.start(["true"])
    guest.done(0, wire.FAILED, -(1 << 31))
    with pytest.raises(AgentError, match="error -2147483648"):
        process.wait(1)


def test_what_no_program_has(guest: FakeAgent) -> None:
    for argv in ([], ["a\0b"], ["x"] * 2000):
        with pytest.raises(UserError):
            guest.host.start(argv)


def test_frames_of_a_program(guest: FakeAgent) -> None:
    duplex = guest.host.open_exec(Exec(("prog",), tty=True))
    guest.take()
    duplex.send(Channel.STDIN, b"in")
    duplex.send(Channel.RESIZE, frames.SIZE.pack(40, 120))
    duplex.send(Channel.SIGNAL, b"\x02")
    duplex.send(Channel.EOF, b"\0")
    types = [frame.type for frame in guest.take()]
    assert types == [Type.DATA, Type.RESIZE, Type.SIGNAL, Type.END]
    assert duplex.receive() == (Channel.WINDOW, frames.WINDOW.pack(2))
    guest.send(0, Type.DATA, b"out", wire.OUT)
    guest.send(0, Type.END, b"", wire.OUT)
    guest.done(0, wire.KILLED, 9)
    assert duplex.receive() == (Channel.STDOUT, b"out")
    assert duplex.receive() == (Channel.EOF, bytes([Channel.STDOUT]))
    assert duplex.receive() == (Channel.EXIT, codec.encode(Exit(137, signal=9)))
    assert duplex.receive() is None


@pytest.mark.parametrize(
    ("channel", "payload"),
    [(Channel.STDOUT, b""), (Channel.SIGNAL, b""), (Channel.RESIZE, b"123"), (Channel.ENTRY, b"{}")],
)
def test_frames_that_no_program_takes(guest: FakeAgent, channel: Channel, payload: bytes) -> None:
    with pytest.raises(BadFrame):
        guest.host.open_exec(Exec(("prog",))).send(channel, payload)


def test_closing_gives_the_program_sighup(guest: FakeAgent) -> None:
    duplex = guest.host.open_exec(Exec(("prog",)))
    guest.take()
    reader = in_background(lambda: [duplex.receive()])
    duplex.close()
    reader.join(5)
    assert not reader.is_alive()
    (frame,) = guest.take()
    assert (frame.type, frame.payload) == (Type.SIGNAL, b"\x01")


@pytest.mark.parametrize("name", [b"..", b"", b"a/b", b".", b"a\0b"])
def test_a_directory_with_names_that_lead_elsewhere(guest: FakeAgent, name: bytes) -> None:
    record = wire._RECORD.pack(0o040755, 0, 0, 0, 0, 0, 0)
    listed = wire._RECORD.pack(0o100644, 0, 0, len(name), 0, 0, 0) + name

    def answer(frame: wire.Frame) -> None:
        guest.send(frame.stream, Type.DATA, record if frame.type == Type.STAT else listed, wire.OUT)
        guest.done(frame.stream)

    guest.answer = answer
    duplex = guest.host.open_get(Get("/folder"))
    received = []
    while (frame := duplex.receive()) is not None:
        received.append(frame)
    assert [channel for channel, _ in received] == [Channel.ENTRY, Channel.EXIT]
    assert "gives the name" in codec.decode_exit(received[-1][1]).error


numbers = st.one_of(st.integers(0, 40), st.integers(0, 0xFFFF))
types = st.one_of(st.sampled_from([*Type]), st.integers(0, 255))
payloads = st.one_of(
    st.binary(max_size=64),
    st.just(encode_done(wire.Done(0, 0))),
    st.integers(0, 2**32 - 1).map(wire.window),
    st.just(bytes(30_000)),
)
#: frames, and bytes that are none
noise = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            lambda number, type, channel, payload: (
                wire.HEADER.pack(len(payload), number, type, channel) + payload
            ),
            *(numbers, types, st.integers(0, 4), payloads),
        ),
    ),
    max_size=20,
)


@given(noise=noise)
@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_from_the_guest(noise: list[bytes]) -> None:
    guest = FakeAgent()
    guest.open()
    processes = [guest.host.start(["prog"]) for _ in range(3)]
    for data in noise:
        guest.port.sink(data)
    guest.close()
    guest.open()
    assert guest.host.is_ready
    for process in processes:
        process.stdout.read(timeout=1)
        try:
            assert -0x8000_0000 <= process.wait(1) <= 0xFF
        except AgentError as error:
            assert "\n" not in str(error)
