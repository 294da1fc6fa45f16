"""`--allow` by name and `--dns`, with a real kernel and its resolver at the other end."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from account import User
from name_server import name_server
from session import Session
from web import serve

from benchmarks.guest_console import HAS_ADDRESS

SIZE = 1 << 20


def _own_address() -> str:
    """An address of this host that others reach it at: its loopback is never opened by a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this host has no way out, and so no address but its loopback's")
        address: str = probe.getsockname()[0]
    if address.startswith(("127.", "10.0.2.")):
        pytest.skip(f"{address} is not this host as the guest sees it")
    return address


def test_what_a_name_opens(user: User, tmp_path: Path) -> None:
    address = _own_address()
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    digest = hashlib.md5(data).hexdigest()
    names = dict.fromkeys(("allowed.test", "deep.allowed.test", "other.test"), address)
    with serve(tmp_path, address) as port, name_server(names) as (dns_port, asked):
        options = ("--allow", "allowed.test", "--dns", f"127.0.0.1:{dns_port}")
        session = Session("debian", "--network", "user", *options, user=user)
        try:
            session.boot().run(HAS_ADDRESS)

            def fetch(host: str) -> str:
                return session.run(f"wget -O data http://{host}:{port}/data 2>&1 && md5sum data; true")

            assert "No route to host" in fetch(address)
            for name in ("other.test", "deep.allowed.test"):
                assert "bad address" in fetch(name)
                assert "REFUSED" in session.run(f"nslookup {name} || true")
            assert "No route to host" in fetch(address)
            assert digest in fetch("allowed.test")
            assert digest in fetch(address)
            assert "No route to host" in fetch("198.51.100.1")
            assert session.power_off() == 0
        finally:
            session.kill()
    assert set(asked) == {"allowed.test"}
