"""A machine's description: what is refused, and with what words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ringfence.api.config import DiskConfig, MachineConfig
from ringfence.api.network import NetConfig
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
