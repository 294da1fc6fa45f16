"""DNS messages (RFC 1035) as far as a forwarder needs them: the question, and the addresses of an answer."""

from __future__ import annotations

import struct
from typing import NamedTuple

#: The domain of a network's own names (reserved for private use by ICANN).
DOMAIN = "internal"
A, CNAME, AAAA, ANY = 1, 5, 28, 255
_IN = 1
_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE, _OPCODE = 0x8000, 0x0100, 0x0080, 0x7800
NO_ERROR, SERVER_FAILURE, NAME_ERROR, REFUSED = 0, 2, 3, 5

HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_OWN_TTL_SECONDS = 10
_LABELS_MAX = 128
#: What is looked at in one answer, however many it says it has.
_RECORDS_MAX = 64


class Question(NamedTuple):
    """What is asked; ``wire`` are its bytes."""

    name: str
    kind: int
    wire: bytes


def parse_query(message: bytes | memoryview) -> Question | None:
    """The one question of a query."""
    if len(message) < HEADER.size:
        return None
    _, flags, questions, _, _, _ = HEADER.unpack_from(message)
    if flags & (_RESPONSE | _OPCODE) or questions != 1:
        return None
    return _question(message)


def parse_answer(message: bytes, question: Question) -> list[tuple[bytes, int]] | None:
    """The addresses with their times to live in an answer to ``question``; None if it is none."""
    if len(message) < HEADER.size:
        return None
    _, flags, questions, answers, _, _ = HEADER.unpack_from(message)
    asked = _question(message) if questions == 1 else None
    if not flags & _RESPONSE or asked is None or (asked.name, asked.kind) != (question.name, question.kind):
        return None
    at = HEADER.size + len(asked.wire)
    addresses = []
    for _ in range(min(answers, _RECORDS_MAX)):
        end = _skip_name(message, at)
        if end is None or end + _RECORD.size > len(message):
            break
        kind, _, ttl, size = _RECORD.unpack_from(message, end)
        data = message[end + _RECORD.size : end + _RECORD.size + size]
        if (kind, len(data)) in ((A, 4), (AAAA, 16)):
            addresses.append((data, ttl))
        at = end + _RECORD.size + size
    return addresses


def reply(
    query: bytes | memoryview, question: Question, code: int, addresses: list[bytes] | None = None
) -> bytes:
    """An answer of our own."""
    identifier, flags = struct.unpack_from(">HH", query)
    flags = _RESPONSE | _RECURSION_AVAILABLE | (flags & _RECURSION_DESIRED) | code
    records = b"".join(
        b"\xc0\x0c"
        + _RECORD.pack(A if len(address) == 4 else AAAA, _IN, _OWN_TTL_SECONDS, len(address))
        + address
        for address in addresses or ()
    )
    return HEADER.pack(identifier, flags, 1, len(addresses or ()), 0, 0) + question.wire + records


def _question(message: bytes | memoryview) -> Question | None:
    labels: list[bytes] = []
    at = HEADER.size
    while at < len(message) and message[at] and len(labels) < _LABELS_MAX:
        size = message[at]
        label = bytes(message[at + 1 : at + 1 + size])
        if size > 63 or b"." in label:  # a pointer, where there is nothing to point at; two labels in one
            return None
        labels.append(label)
        at += 1 + size
    if at + 5 > len(message) or message[at]:
        return None
    (kind,) = struct.unpack_from(">H", message, at + 1)
    name = b".".join(labels).decode("ascii", "backslashreplace").lower()
    return Question(name, kind, bytes(message[HEADER.size : at + 5]))


def _skip_name(message: bytes, at: int) -> int | None:
    """Where a name ends; a pointer ends it."""
    for _ in range(_LABELS_MAX):
        if at >= len(message):
            return None
        size = message[at]
        if size >= 0xC0:
            return at + 2
        if size == 0:
            return at + 1
        at += 1 + size
    return None
