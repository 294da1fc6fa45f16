"""A switch: who may speak as whom, names, and a process that comes and goes with its machines."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_station import DNS, GATEWAY_MAC, dns_query, ipv4, udp, udp_of

from ringfence.api.network import NetConfig, parse_forward, parse_name_server
from ringfence.errors import HostError, UserError
from ringfence.network.event_loop import EventLoop
from ringfence.network.offload import PLAIN, plain
from ringfence.network.switch import greeting, rendezvous
from ringfence.network.switch.client import SwitchPort
from ringfence.network.switch.greeting import Welcome
from ringfence.network.switch.server import Switch

ALPHA, BETA = NetConfig("switch", "lab", name="alpha"), NetConfig("switch", "lab", name="beta")


class Lab:
    """A switch in this process, and the ports of machines that are plugged in."""

    def __init__(self, folder: Path) -> None:
        self.loop = EventLoop()
        self.path = str(folder / "switch")
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(self.path)
        self.listening.listen()
        self.emptied = 0
        self.switch = Switch(self.loop, self.listening, self._count)

    def _count(self) -> None:
        self.emptied += 1

    def dial(self, message: bytes) -> tuple[socket.socket, bytes]:
        """Connect and say ``message``; returns the answer as well."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.connect(self.path)
        link.setblocking(False)
        link.send(message)
        return link, self.hear(link)

    def hear(self, link: socket.socket) -> bytes:
        for _ in range(20):
            self.loop.run_once(0.05)
            assert self.loop.failures == 0
            try:
                return link.recv(70000)
            except BlockingIOError:
                continue
        return b"(nothing)"

    def join(self, net: NetConfig) -> tuple[socket.socket, Welcome]:
        link, answer = self.dial(greeting.write_hello(net))
        return link, greeting.read_welcome(answer)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.switch.close()
    lab.loop.close()


def _mac(welcome: Welcome) -> bytes:
    return bytes.fromhex(welcome.mac.replace(":", ""))


def _address(welcome: Welcome) -> bytes:
    return socket.inet_aton(welcome.address)


def _frame(source: Welcome, destination: bytes, ip: bytes | None = None) -> bytes:
    packet = ipv4(ip or _address(source), b"\x0a\0\x02\x10", 99, b"hello", mac=_mac(source))
    return packet[:12] + destination + packet[18:]


def test_two_machines_and_nobody_else_hear_each_other(lab: Lab) -> None:
    (alpha, a), (beta, b), (gamma, _) = (
        lab.join(ALPHA),
        lab.join(BETA),
        lab.join(NetConfig("switch", "lab", name="gamma")),
    )
    assert (a.name, b.name) == ("alpha", "beta") and a.mac != b.mac and a.address != b.address
    packet = _frame(a, _mac(b))
    alpha.send(packet)
    assert lab.hear(beta) == packet
    with pytest.raises(BlockingIOError):
        gamma.recv(1)
    everybody = _frame(a, b"\xff" * 6)
    alpha.send(everybody)
    assert lab.hear(beta) == lab.hear(gamma) == everybody
    with pytest.raises(BlockingIOError):
        alpha.recv(1)


def _ip6(source: Welcome, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """From a link-local address of its own."""
    own = bytes.fromhex("fe80") + bytes(10) + _address(source)
    header = struct.pack(">IHBB", 0x6000_0000, len(payload), protocol, 255)
    return PLAIN + destination + _mac(source) + b"\x86\xdd" + header + own + bytes(16) + payload


def _udp(source: Welcome, destination: bytes, port: int) -> bytes:
    packet = ipv4(
        _address(source), b"\x0a\0\x02\x10", 17, struct.pack(">HHHH", port, 68, 8, 0), mac=_mac(source)
    )
    return packet[:12] + destination + packet[18:]


def _advertisement(target: bytes) -> bytes:
    return struct.pack(">BBHI", 136, 0, 0, 0) + target


def _part(protocol: int, data: bytes, offset: int = 0) -> bytes:
    """The fragment header of IPv6, and what is behind it."""
    return struct.pack(">BBHI", protocol, 0, offset | 1, 5) + data


def _fragment(packet: bytes, offset: int) -> bytes:
    """The same IPv4 packet as a part of a datagram; nobody looks at its checksum here."""
    return packet[:32] + struct.pack(">H", 0x2000 | offset >> 3) + packet[34:]


def test_a_machine_speaks_for_itself(lab: Lab) -> None:
    (alpha, a), (beta, b) = lab.join(ALPHA), lab.join(BETA)
    own = bytes.fromhex("fe80") + bytes(10) + _address(a)
    for packet in (
        _udp(a, _mac(b), 68),
        _ip6(a, _mac(b), 58, _advertisement(own)),
        _ip6(a, _mac(b), 58, b""),
        _ip6(a, _mac(b), 44, _part(58, _advertisement(own))),
        _ip6(a, _mac(b), 44, _part(58, b"\x86" + bytes(15), offset=8)),
        _fragment(_udp(a, _mac(b), 67), offset=8),
    ):
        alpha.send(packet)
        assert lab.hear(beta) == packet


@pytest.mark.parametrize(
    "what",
    [
        "dhcp",
        "dhcp6",
        "router",
        "redirect",
        "neighbor",
        "short",
        "hidden",
        "part",
        "part6",
        "advertised in parts",
        "parts of parts",
        "cut off",
    ],
)
def test_a_machine_does_not_play_the_network(lab: Lab, what: str) -> None:
    (alpha, a), (beta, b) = lab.join(ALPHA), lab.join(BETA)
    to = _mac(b)
    alpha.send(
        {
            "dhcp": _udp(a, to, 67),
            "dhcp6": _ip6(a, to, 17, struct.pack(">HHHH", 547, 546, 8, 0)),
            "router": _ip6(a, to, 58, b"\x86" + bytes(15)),
            "redirect": _ip6(a, to, 58, b"\x89" + bytes(39)),
            "neighbor": _ip6(
                a, to, 58, _advertisement(bytes.fromhex("fd52524672660000") + bytes(7) + b"\x02")
            ),
            "short": _ip6(a, to, 58, _advertisement(b"")),
            "part": _fragment(_udp(a, to, 67), offset=0),
            "part6": _ip6(a, to, 44, _part(17, struct.pack(">HHHH", 547, 546, 8, 0))),
            "advertised in parts": _ip6(a, to, 44, _part(58, b"\x86" + bytes(15))),
            "parts of parts": _ip6(a, to, 44, _part(44, _part(58, b"\x86" + bytes(15)))),
            "cut off": _ip6(a, to, 44, bytes(7)),
            "hidden": _ip6(a, to, 0, bytes([58]) + bytes(7) + b"\x86" + bytes(15)),
        }[what]
    )
    assert lab.hear(beta) == b"(nothing)"
    assert lab.switch.counters["forged"] == 1


@pytest.mark.parametrize("what", ["mac", "ip", "arp mac", "arp ip", "gateway ip", "ip6"])
def test_a_machine_does_not_pass_for_another(lab: Lab, what: str) -> None:
    (alpha, a), (beta, b) = lab.join(ALPHA), lab.join(BETA)
    to = _mac(b)
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2)
    packet = {
        "mac": _frame(b, to),
        "ip": _frame(a, to, ip=_address(b)),
        "gateway ip": _frame(a, to, ip=b"\x0a\0\x02\x02"),
        "arp mac": PLAIN + to + _mac(a) + b"\x08\x06" + arp + to + _address(a) + bytes(10),
        "arp ip": PLAIN + to + _mac(a) + b"\x08\x06" + arp + _mac(a) + b"\x0a\0\x02\x02" + bytes(10),
        "ip6": PLAIN + to + _mac(a) + b"\x86\xdd" + bytes(8) + b"\x20\x01" + bytes(14) + bytes(16),
    }[what]
    alpha.send(packet)
    assert lab.hear(beta) == b"(nothing)"
    assert lab.switch.counters["forged"] == 1


def test_malformed_packets_are_dropped(lab: Lab) -> None:
    alpha, a = lab.join(ALPHA)
    for packet in (b"x", bytes(25), b"\xff" * 100, bytes(12) + bytes(70000)):
        alpha.send(packet)
    alpha.send(_frame(a, b"\x52" + bytes(5)))
    lab.hear(alpha)
    assert lab.switch.counters["unknown_destination"] == 1


def test_names_are_resolved(lab: Lab) -> None:
    (alpha, a), (_, b) = lab.join(ALPHA), lab.join(BETA)
    data = dns_query("beta.internal")
    segment = struct.pack(">HHHH", 5000, 53, 8 + len(data), 0) + data
    packet = ipv4(_address(a), b"\x0a\0\x02\x03", 17, segment, mac=_mac(a))
    alpha.send(packet[:12] + GATEWAY_MAC + packet[18:])
    (frame,) = plain(lab.hear(alpha))
    assert udp_of(frame)[4].endswith(_address(b))


def test_a_name_that_is_taken_gets_a_number(lab: Lab) -> None:
    (first, _), (_, second) = lab.join(ALPHA), lab.join(ALPHA)
    assert second.name == "alpha-2"
    first.close()
    lab.hear(first) if first.fileno() >= 0 else lab.loop.run_once(0.05)
    _, third = lab.join(ALPHA)
    assert third.name == "alpha"


def test_each_machine_has_its_own_name_servers(lab: Lab) -> None:
    for net in (ALPHA, BETA):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(10)
            own = parse_name_server(f"127.0.0.1:{server.getsockname()[1]}")
            link, welcome = lab.join(replace(net, name_servers=(own,)))
            question = dns_query(f"{net.name}.example.org")
            packet = udp(6000, DNS, 53, question, _address(welcome))
            link.send(packet[:18] + _mac(welcome) + packet[24:])
            lab.loop.run_once(0.05)
            assert server.recv(512)[2:] == question[2:]


def test_a_port_that_is_taken_is_refused(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forward = parse_forward(f"{taken.getsockname()[1]}:80")
        with pytest.raises(UserError, match="can't publish"):
            lab.join(NetConfig("switch", "lab", forwards=(forward,)))
    assert lab.switch.is_empty and lab.emptied == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"version": 2, "name": "x", "forwards": [], "allow": None, "dns": []},
        {"version": 1, "name": "", "forwards": [], "allow": None, "dns": []},
        {"version": 1, "name": "x" * 64, "forwards": [], "allow": None, "dns": []},
        {"version": 1, "name": 5, "forwards": [], "allow": None, "dns": []},
        {"version": 1, "name": "x", "forwards": [5], "allow": None, "dns": []},
        {"version": 1, "name": "x", "forwards": ["no port"], "allow": None, "dns": []},
        {"version": 1, "name": "x", "forwards": [], "allow": "all", "dns": []},
        {"version": 1, "name": "x", "forwards": [], "allow": ["/"], "dns": []},
        {"version": 1, "name": "x", "forwards": [], "allow": None},
        {"version": 1, "name": "x", "forwards": [], "allow": None, "dns": ["nowhere"]},
        {"version": 1, "name": "x", "forwards": [], "allow": None, "dns": ["192.0.2.1"] * 17},
        [],
        "text",
    ],
    ids=str,
)
def test_greetings_that_are_none(lab: Lab, fields: object) -> None:
    _, answer = lab.dial(json.dumps(fields).encode())
    assert "error" in json.loads(answer)
    assert lab.switch.is_empty


def test_greetings_that_are_not_json(lab: Lab) -> None:
    for message in (b"\xff", b"[" * 60000, b"{}" * 10):
        _, answer = lab.dial(message)
        assert "error" in json.loads(answer)


def test_who_says_nothing_is_shown_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringfence.network.switch.server.HELLO_SECONDS", 0.05)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(lab.path)
    link.setblocking(False)
    assert lab.hear(link) == b""
    assert lab.emptied == 1


# -- the process --


def _wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_switch_comes_with_its_first_machine_and_goes_with_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    loop = EventLoop()
    for _ in range(2):
        first, second = SwitchPort(ALPHA, loop), SwitchPort(BETA, loop)
        assert (first.welcome.name, second.welcome.name) == ("alpha", "beta")
        assert (rendezvous.folder().stat().st_mode & 0o777) == 0o700
        first.close()
        assert SwitchPort(ALPHA, loop).welcome.name == "alpha", "the name is free again"
        second.close()
        _wait_for(lambda: os.listdir(rendezvous.folder()) == [])
    loop.close()


def test_a_socket_that_is_left_over_is_no_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    loop = EventLoop()
    rendezvous.places.make_private(tmp_path / "ringfence")
    rendezvous.places.make_private(rendezvous.folder())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(rendezvous.folder() / "lab.sock"))
    port = SwitchPort(ALPHA, loop)
    assert port.welcome.name == "alpha"
    port.close()
    _wait_for(lambda: os.listdir(rendezvous.folder()) == [])
    loop.close()


def test_a_switch_that_can_not_be_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    loop = EventLoop()
    with pytest.raises(HostError, match="No such file"):
        SwitchPort(ALPHA, loop)
    assert os.listdir(rendezvous.folder()) == []
    loop.close()


def test_only_the_same_user_is_let_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "is_same_user", lambda connected: False)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(lab.path)
    link.setblocking(False)
    assert lab.hear(link) == b""
    assert lab.switch.counters["refused"] == 1
