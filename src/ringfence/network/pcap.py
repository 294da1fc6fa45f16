"""A tap on the cable: writes every frame, both ways, to a capture file.

The classic pcap file format with nanoseconds (draft-ietf-opsawg-pcap): one file header, then a
header and the bytes for each frame. The guest decides how much there is to write, so the file
has a limit; beyond it, or when the host's disk is full, frames still pass and are counted. What the
guest leaves to its interface is not done yet: checksums look wrong, and TCP segments are long.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence

from ringfence.errors import UserError
from ringfence.network.backend import Cable, OnReceive
from ringfence.network.offload import HEADER_BYTES
from ringfence.units import MIB, NS_PER_S

_MAGIC_NS = 0xA1B23C4D
_SNAPLEN = 262144
_LINKTYPE_ETHERNET = 1
_FILE_HEADER = struct.pack("<IHHiIII", _MAGIC_NS, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_ETHERNET)
_FRAME_HEADER = struct.Struct("<IIII")


class Pcap:
    """Wraps a backend. A frame is in the file when `send` returns.

    Raises:
        UserError: the file can't be written.
    """

    def __init__(
        self,
        inner: Cable,
        path: str | os.PathLike[str],
        limit_bytes: int = 256 * MIB,
        host_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._inner = inner
        self._host_ns = host_ns
        self._left_bytes = limit_bytes - len(_FILE_HEADER)
        #: frames that passed and are not in the file
        self.missed = 0
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed in close)
            self._file.write(_FILE_HEADER)
        except OSError as error:
            raise UserError(f"can't write capture file {os.fspath(path)!r}: {error.strerror}") from error

    def connect(self, on_receive: OnReceive) -> None:
        def receive(packets: Sequence[bytes]) -> bool:
            self._record(packets)
            return on_receive(packets)

        self._inner.connect(receive)

    def send(self, packets: Sequence[bytes]) -> None:
        self._record(packets)
        self._inner.send(packets)

    def defer(self, transmit: Callable[[], None]) -> bool:
        return self._inner.defer(transmit)

    def hold(self, is_held: bool) -> None:
        self._inner.hold(is_held)

    def go_on(self) -> None:
        self._inner.go_on()

    def close(self) -> None:
        self._inner.close()
        self._file.close()

    def metrics(self) -> dict[str, int]:
        return {**self._inner.metrics(), "capture_missed": self.missed}

    def _record(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self._write(packet[HEADER_BYTES:])

    def _write(self, frame: bytes) -> None:
        kept = frame[:_SNAPLEN]
        seconds, ns = divmod(self._host_ns(), NS_PER_S)
        packet = _FRAME_HEADER.pack(seconds, ns, len(kept), len(frame)) + kept
        if len(packet) > self._left_bytes:
            self._stop()
            return
        try:
            written = self._file.write(packet)
        except OSError:
            written = 0
        self._left_bytes -= len(packet)
        if written != len(packet):
            self._stop()

    def _stop(self) -> None:
        """No gap and no torn frame in the middle: once one is missing, none follows."""
        self.missed += 1
        self._left_bytes = 0
