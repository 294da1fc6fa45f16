"""A machine's description: what is refused, and with what words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ringfence.api.config import DiskConfig, MachineConfig
from ringfence.api.network import NameServer, NetConfig, parse_name_server
from ringfence.errors import UserError
from ringfence.units import MIB


def test_what_the_board_reads() -> None:
    config = MachineConfig(
        kernel="vmlinuz", memory="64M", disks=["a.img", Path("b,c.img,ro")], network="loopback", capture="c"
    )
    assert config.memory_bytes == 64 * MIB
    assert config.disk_configs == (DiskConfig(Path("a.img")), DiskConfig(Path("b,c.img"), True))
    assert config.net_config == NetConfig("loopback", capture=Path("c"))


def test_networks() -> None:
    assert MachineConfig("k").net_config is None
    assert MachineConfig("k", network="loopback").net_config == NetConfig("loopback")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "from a kernel or from a firmware"),
        ({"kernel": "k", "firmware": "f"}, "from a kernel or from a firmware"),
        ({"firmware": "f", "append": "quiet"}, "takes no initrd and no command line"),
        ({"firmware": "f", "initrd": "i"}, "takes no initrd and no command line"),
        ({"kernel": "k", "memory": "1M"}, "too little memory"),
        ({"kernel": "k", "memory": "0"}, "too little memory"),
        ({"kernel": "k", "memory": "300G"}, "too much memory"),
        ({"kernel": "k", "memory": "5000000"}, "not whole pages"),
        ({"kernel": "k", "memory": "much"}, "not a size"),
        ({"kernel": "k", "engine": "magic"}, "no engine 'magic'"),
        ({"kernel": "k", "network": "t?p"}, "no network 't\\?p'"),
        ({"kernel": "k", "capture": "file"}, "nothing to capture"),
        ({"kernel": "k", "publish": ["80:80"]}, "need a network"),
        ({"kernel": "k", "dns": ["192.0.2.1"]}, "need a network"),
        ({"kernel": "k", "network": "loopback", "dns": ["192.0.2.1"]}, "need a network"),
        ({"kernel": "k", "disks": [",ro"]}, "a disk without a file"),
        ({"kernel": "k", "debug_exit": 0x10000}, "not a port"),
        ({"kernel": "k", "raw_at": MIB}, "below 1 MiB"),
        ({"kernel": "k", "append": "a\0b"}, "NUL"),
    ],
)
def test_what_makes_no_machine(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as raised:
        MachineConfig(**values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", NameServer("192.0.2.1", 53)),
        ("127.0.0.1:5353", NameServer("127.0.0.1", 5353)),
        ("2001:DB8::1", NameServer("2001:db8::1", 53)),
        ("[2001:db8::1]", NameServer("2001:db8::1", 53)),
        ("[::1]:65535", NameServer("::1", 65535)),
    ],
)
def test_name_servers(text: str, server: NameServer) -> None:
    assert parse_name_server(text) == server == parse_name_server(str(server))
    net = MachineConfig("k", network="user", dns=[text]).net_config
    assert net is not None and net.name_servers == (server,)


@pytest.mark.parametrize(
    "text",
    [
        "", "dns.example.org", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:53:53", "192.0.2",
        "[192.0.2.1]:53", "[::1]53", "[::1", "::1]", "[]", ":53", "0.0.0.0", "::", "224.0.0.251", "ff02::fb",
        "fe80::1%eth0", "[fe80::1%eth0]:53", "192.0.2.1/32", "192.0.2.1:\u0665\u0663", "192.0.2.1\n",
    ],
)  # fmt: skip
def test_what_is_no_name_server(text: str) -> None:
    with pytest.raises(UserError, match=r"not (a|the address of a) name server|not a port") as raised:
        parse_name_server(text)
    assert "\n" not in str(raised.value)
