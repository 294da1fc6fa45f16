"""Messages survive the wire, and nothing else passes for one."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.api import codec, messages
from ringfence.api.messages import BadMessage, Entry, Exec, Exit, Failed, Kill, Message, Put, Refused

REQUESTS: list[Any] = [
    messages.Hello(), messages.Inspect(), messages.Stats(), messages.Pause(), messages.Resume(),
    messages.PowerButton(), Kill(15), messages.Wait(), messages.Console(100),
    Exec(("ls", "-l"), {"A": "b"}, "/tmp", True, (50, 132), "nobody", False),
    Put("/root", "x"), messages.Get("/etc"), messages.SetClock(), messages.SetIdentity("one"),
]  # fmt: skip


def _line(**fields: object) -> bytes:
    return json.dumps({"ringfence": messages.VERSION, **fields}).encode()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.NAME)
def test_a_request_arrives_as_it_was_sent(request_: Any) -> None:
    line = codec.encode(request_)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert codec.decode_request(line) == request_


def test_every_request_is_tried_here() -> None:
    assert {type(request) for request in REQUESTS} == set(typing.get_args(messages.Request))


def test_an_answer_arrives_and_a_failure_raises() -> None:
    ended = messages.Ended("power_off", 0, 0, "the guest powered off", "")
    assert codec.decode_answer(codec.encode(ended)) == ended
    with pytest.raises(Refused, match="there is none") as caught:
        codec.decode_answer(codec.encode(Failed("no-agent", "there is none")))
    assert caught.value.kind == "no-agent"


def test_arguments_that_are_not_utf8_keep_their_bytes() -> None:
    found = codec.decode_request(codec.encode(Exec(("\udcff",))))
    assert isinstance(found, Exec) and found.argv == ("\udcff",)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[", b"[]", b"1", b"{}", b"\xff\xfe", b"[" * 100_000,
        b'{"ringfence": 2, "is": "hello"}',
        _line(), _line(**{"is": "about"}), _line(**{"is": ["hello"]}),
        _line(**{"is": "exec"}), _line(**{"is": "exec", "argv": "ls"}), _line(**{"is": "exec", "argv": [1]}),
        _line(**{"is": "exec", "argv": ["a\0b"]}), _line(**{"is": "exec", "argv": ["\ud800"]}),
        _line(**{"is": "exec", "argv": [], "env": {"a\0": "b"}}),
        _line(**{"is": "exec", "argv": [], "size": [1]}), _line(**{"is": "exec", "argv": [], "tty": 1}),
        _line(**{"is": "kill", "signal": True}), _line(**{"is": "kill", "signal": 9.0}),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        codec.decode_request(line)


def test_a_later_version_may_add_fields() -> None:
    assert codec.decode_request(_line(**{"is": "kill", "signal": 2, "grace": 1})) == Kill(2)


@pytest.mark.parametrize("path", ["/etc", "..", "a/../b", "a//b", ".", "a/", "a\0b"])
def test_a_copy_does_not_leave_its_root(path: str) -> None:
    with pytest.raises(BadMessage):
        codec.decode_entry(codec.encode(Entry(path, "file", 0o644)))


@pytest.mark.parametrize("entry", [Entry("", "directory", 0o755), Entry("a/b", "link", 0o777, target="/etc")])
def test_entries_arrive(entry: Entry) -> None:
    assert codec.decode_entry(codec.encode(entry)) == entry


@pytest.mark.parametrize(
    "entry", [Entry("a", "device", 0), Entry("a", "file", 0o10000), Entry("a", "file", -1)]
)
def test_only_what_can_be_copied_is_an_entry(entry: Entry) -> None:
    with pytest.raises(BadMessage):
        codec.decode_entry(codec.encode(entry))


def test_an_exit_arrives() -> None:
    assert codec.decode_exit(codec.encode(Exit(137, 9))) == Exit(137, 9)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(REQUESTS), st.data())
def test_fuzzed_fields_are_refused_or_typed(request_: Message, data: st.DataObject) -> None:
    fields = json.loads(codec.encode(request_))
    for name in list(fields):
        if name not in ("ringfence", "is") and data.draw(st.booleans()):
            fields[name] = data.draw(_JSON)
    try:
        found = codec.decode_request(json.dumps(fields).encode())
    except BadMessage:
        return
    assert codec.decode_request(codec.encode(found)) == found


@given(st.binary(max_size=200))
def test_fuzzed_bytes_are_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        codec.decode_request(line)
