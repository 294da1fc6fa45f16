"""A name server on this host's loopback, for names of our own."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

_A, _IN, _TTL_SECONDS = 1, 1, 300
_HEADER_BYTES, _NAME_ERROR = 12, 3


@contextmanager
def name_server(names: Mapping[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Answers with these names' IPv4 addresses; its port, and the names that it was asked for."""
    asked: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        thread = threading.Thread(target=_serve, args=(server, names, asked), daemon=True)
        thread.start()
        try:
            yield port, asked
        finally:
            with suppress(OSError):  # it is not connected, and wakes up all the same
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, names: Mapping[str, str], asked: list[str]) -> None:
    while True:
        query, peer = server.recvfrom(512)
        if not query:
            return
        name, kind, end = _question(query)
        asked.append(name)
        address = names.get(name)
        records = b""
        if address is not None and kind == _A:
            records = struct.pack(">HHHIH", 0xC00C, _A, _IN, _TTL_SECONDS, 4) + socket.inet_aton(address)
        code = _NAME_ERROR if address is None else 0
        head = struct.pack(">HHHHH", 0x8180 | code, 1, bool(records), 0, 0)
        server.sendto(query[:2] + head + query[_HEADER_BYTES:end] + records, peer)


def _question(query: bytes) -> tuple[str, int, int]:
    """Name, kind, and where it ends."""
    labels = []
    at = _HEADER_BYTES
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big"), at + 5
