"""The programmatic console: patterns, bounds, input as the UART has room."""

from __future__ import annotations

import threading
import time

import pytest

from ringfence.devices.clock import Clock
from ringfence.errors import ExpectTimeout
from ringfence.vmm import console as module
from ringfence.vmm.console import Console, Text


class SlowPort:
    """Takes at most `room` bytes at a time."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def feed(self, data: bytes) -> int:
        self.taken += data[: self.room]
        return min(len(data), self.room)


def make() -> Console:
    return Console(post=lambda work: work())


def test_expect_takes_up_to_the_match_and_no_further() -> None:
    console = make()
    console.receive(b"Debian 12\r\nlogin: abc")
    assert console.expect(r"lo(g)in: ", timeout=1).group(1) == "g"
    assert console.read() == "abc"
    assert console.read() == ""
    assert console.log == "Debian 12\r\nlogin: abc"


def test_expect_waits_for_output_that_comes_in_pieces() -> None:
    console = make()

    def guest() -> None:
        for byte in b"booting... login:":
            time.sleep(0.002)
            console.receive(bytes((byte,)))

    thread = threading.Thread(target=guest)
    thread.start()
    assert console.expect("login:", timeout=5)
    thread.join()


def test_expect_gives_up_and_shows_what_came_instead() -> None:
    console = make()
    console.receive(b"panic")
    with pytest.raises(ExpectTimeout, match="'panic'"):
        console.expect("login:", timeout=0.05)
    assert console.read() == "panic", "a failed expect takes nothing"


def test_expect_fails_at_once_when_the_machine_has_ended() -> None:
    console = make()
    threading.Timer(0.05, console.close).start()
    begin = time.monotonic()
    with pytest.raises(ExpectTimeout, match="ended"):
        console.expect("login:", timeout=30)
    assert time.monotonic() - begin < 5


def test_a_character_split_over_two_outputs_is_one_character() -> None:
    console = make()
    for byte in "é".encode() + b"\xff":
        console.receive(bytes((byte,)))
    assert console.read() == "é\ufffd"


def test_text_keeps_only_its_end() -> None:
    text = Text(limit=10)
    for n in range(3 * module.PIECES_LIMIT):
        text.append(str(n % 10))
    assert text.join() == "".join(str(n % 10) for n in range(3 * module.PIECES_LIMIT))[-10:]


def test_input_waits_for_room_in_the_port() -> None:
    ns = 0
    clock = Clock(lambda: ns)
    console, port = make(), SlowPort(room=4)
    console.attach(port, clock)
    console.send("0123456789")
    assert port.taken == b"0123"
    for _ in range(2):
        ns += module.RETRY_NS
        clock.run_due()
    assert port.taken == b"0123456789"
    assert clock.next_deadline_ns() is None, "the retry alarm must rest"


def test_a_sender_waits_while_the_guest_takes_nothing() -> None:
    console = make()
    console.attach(SlowPort(room=0), Clock())
    thread = threading.Thread(target=console.send, args=(b"x" * 3 * module.INPUT_LIMIT,))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive(), "input grows without a bound"
    console.close()
    thread.join(5)
    assert not thread.is_alive()


def test_the_tee_gets_the_bytes_as_they_are() -> None:
    console = make()
    seen: list[bytes] = []
    console.tee = seen.append
    console.receive(b"\xff\x00")
    assert seen == [b"\xff\x00"]
