"""The loop: calls from other threads, timers, sockets, and handlers that fail."""

from __future__ import annotations

import os
import socket
import threading

from ringfence.network.event_loop import READABLE, EventLoop, LoopThread


def test_a_call_wakes_a_loop_that_sleeps() -> None:
    thread = LoopThread("loop under test")
    thread.start()
    called = threading.Event()
    for _ in range(100):
        called.clear()
        thread.loop.call(called.set)
        assert called.wait(10)
    thread.close()


def test_timers_run_in_order_and_not_when_cancelled() -> None:
    loop = EventLoop()
    ran: list[str] = []
    loop.call_later(0.02, lambda: ran.append("late"))
    loop.call_later(0.001, lambda: ran.append("early"))
    loop.call_later(0.01, lambda: ran.append("never")).cancel()
    for _ in range(20):
        if len(ran) < 2:
            loop.run_once(1)
    assert ran == ["early", "late"]
    loop.close()


def test_cancelled_timers_do_not_pile_up() -> None:
    loop = EventLoop()
    for _ in range(10_000):
        loop.call_later(1000, lambda: None).cancel()
    assert len(loop._timers) < 1000
    loop.close()


def test_a_socket_is_heard_until_it_is_not_watched() -> None:
    loop = EventLoop()
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    loop.watch(ours.fileno(), READABLE, lambda events: heard.append(ours.recv(10)))
    theirs.send(b"a")
    loop.run_once(1)
    loop.unwatch(ours.fileno())
    theirs.send(b"b")
    loop.run_once(0)
    assert heard == [b"a"]
    loop.close()


def test_a_handler_that_fails_stops_nothing() -> None:
    loop = EventLoop()
    rounds: list[int] = []
    loop.after_round.append(lambda: rounds.append(1))
    loop.call(lambda: [][0])
    loop.call(lambda: rounds.append(0))
    loop.run_once(0)
    assert (rounds, loop.failures) == ([0, 1], 1)
    loop.close()


def test_nothing_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        thread = LoopThread("loop under test")
        thread.start()
        thread.close()
    LoopThread("never started").close()
    assert len(os.listdir("/proc/self/fd")) == before
