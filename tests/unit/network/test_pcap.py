"""The capture file, byte by byte, and its limits."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringfence.errors import UserError
from ringfence.network.loopback import Loopback
from ringfence.network.offload import PLAIN
from ringfence.network.pcap import Pcap

FRAME = bytes(range(64))
PACKET = PLAIN + FRAME


def _packets(path: Path) -> list[tuple[int, int, bytes]]:
    """``(seconds, ns, frame)`` of every packet, read with nothing left over."""
    data = path.read_bytes()
    assert data[:24] == struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    packets, at = [], 24
    while at < len(data):
        seconds, ns, kept, length = struct.unpack_from("<IIII", data, at)
        assert kept == min(length, 262144)
        packets.append((seconds, ns, data[at + 16 : at + 16 + kept]))
        at += 16 + kept
    assert at == len(data)
    return packets


def test_both_directions_are_written(tmp_path: Path) -> None:
    path = tmp_path / "net.pcap"
    times = iter([1_000_000_002, 3_000_000_004])
    pcap = Pcap(Loopback(), path, host_ns=lambda: next(times))
    received: list[bytes] = []
    pcap.connect(received.extend)
    pcap.send([PACKET])
    assert received == [PACKET]
    assert _packets(path) == [(1, 2, FRAME), (3, 4, FRAME)]
    pcap.close()


def test_the_file_stops_at_its_limit_and_frames_still_pass(tmp_path: Path) -> None:
    path = tmp_path / "net.pcap"
    pcap = Pcap(Loopback(), path, limit_bytes=24 + 3 * (16 + len(FRAME)))
    received: list[bytes] = []
    pcap.connect(received.extend)
    pcap.send([PACKET])
    pcap.send([PACKET + FRAME])
    pcap.send([PACKET])
    assert len(received) == 3
    assert len(_packets(path)) == 2
    assert pcap.missed == 4
    pcap.close()


def test_a_host_that_is_full_from_the_start() -> None:
    with pytest.raises(UserError, match="can't write"):
        Pcap(Loopback(), "/dev/full")


def test_a_disk_that_fills_up_later(tmp_path: Path) -> None:
    pcap = Pcap(Loopback(), tmp_path / "net.pcap")
    received: list[bytes] = []
    pcap.connect(received.extend)
    pcap._file.close()
    pcap._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 (closed by the next line but two)
    pcap.send([PACKET])
    assert (received, pcap.missed) == ([PACKET], 2)
    pcap.close()


def test_a_file_that_can_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't write capture file"):
        Pcap(Loopback(), tmp_path / "none" / "net.pcap")


def test_loopback_forgets_when_closed() -> None:
    loopback = Loopback()
    received: list[bytes] = []
    loopback.send([PACKET])
    loopback.connect(received.extend)
    loopback.send([PACKET])
    loopback.close()
    loopback.send([PACKET])
    assert received == [PACKET]
