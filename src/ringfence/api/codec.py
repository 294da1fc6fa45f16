"""Messages as lines of JSON, and back: whatever comes is checked against the types in api/messages.py.

Strings are file names and arguments as the kernel takes them: no NUL, and bytes that are not UTF-8 as
`os.fsdecode` has them.
"""

from __future__ import annotations

import json
import os
import typing
from dataclasses import asdict, fields
from typing import Any

from ringfence.api.messages import (
    VERSION,
    Answer,
    BadMessage,
    Entry,
    Exit,
    Failed,
    Message,
    Refused,
    Request,
)

_REQUESTS: dict[str, type[Message]] = {kind.NAME: kind for kind in typing.get_args(Request)}
_ANSWERS: dict[str, type[Message]] = {kind.NAME: kind for kind in typing.get_args(Answer)}


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps({"ringfence": VERSION, "is": message.NAME, **asdict(message)}).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises:
    BadMessage: it is none.
    """
    return typing.cast(Request, _decode(line, _REQUESTS))


def decode_answer(line: bytes) -> Answer:
    """Raises:
    BadMessage: it is none.
    Refused: it is `Failed`.
    """
    answer = typing.cast(Answer, _decode(line, _ANSWERS))
    if isinstance(answer, Failed):
        raise Refused(answer.kind, answer.text)
    return answer


def decode_exit(payload: bytes) -> Exit:
    """Raises:
    BadMessage: it is none.
    """
    return typing.cast(Exit, _decode(payload, {Exit.NAME: Exit}))


def decode_entry(payload: bytes) -> Entry:
    """Raises:
    BadMessage: it is none, or its path leaves the copy's root.
    """
    entry = typing.cast(Entry, _decode(payload, {Entry.NAME: Entry}))
    parts = entry.path.split("/")
    if entry.path and any(part in ("", ".", "..") for part in parts):
        raise BadMessage(f"not a path below a copy's root: {entry.path[:200]!r}")
    if entry.kind not in ("file", "directory", "link") or not 0 <= entry.mode <= 0o7777 or entry.size < 0:
        raise BadMessage(f"not an object that can be copied: {entry.path[:200]!r}")
    return entry


def _decode(line: bytes, kinds: dict[str, type[Message]]) -> Message:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadMessage("not a line of JSON") from error
    if not isinstance(value, dict):
        raise BadMessage("not a JSON object")
    if value.pop("ringfence", None) != VERSION:
        raise BadMessage(f"not a message of version {VERSION}")
    name = value.pop("is", None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadMessage(f"no message {str(name)[:40]!r} is expected here")
    return _build(kind, value)


def _build(kind: type[Message], value: dict[str, Any]) -> Message:
    """What this version does not know of a message is left out, so that a later one may add to it."""
    hints = _hints(kind)
    known: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in value:
            known[each.name] = _check(value[each.name], hints[each.name], f"{kind.NAME}: {each.name}")
    try:
        return kind(**known)
    except TypeError as error:
        raise BadMessage(f"{kind.NAME}: a field is missing") from error


_HINTS: dict[str, dict[str, Any]] = {}


def _hints(kind: type[Message]) -> dict[str, Any]:
    if kind.NAME not in _HINTS:
        _HINTS[kind.NAME] = typing.get_type_hints(kind)
    return _HINTS[kind.NAME]


def _check(value: Any, hint: Any, where: str) -> Any:
    """The value as that type, of the few that messages are made of."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        return value
    if hint is str and isinstance(value, str):
        return _check_text(value, where)
    if origin is None and type(value) is hint:
        return value
    if origin is dict and isinstance(value, dict):
        return {_check_text(key, where): _check(item, arguments[1], where) for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            return tuple(_check(item, arguments[0], where) for item in value)
        if len(value) == len(arguments):
            return tuple(_check(item, hint, where) for item, hint in zip(value, arguments, strict=True))
    raise BadMessage(f"{where} is of another type")


def _check_text(text: str, where: str) -> str:
    try:
        is_name = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise BadMessage(f"{where} has characters that no file name has")
    return text
