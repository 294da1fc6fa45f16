"""A NIC plugged into passt(1) by its socket: out through it, and in by a port that it forwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import urllib.request
from pathlib import Path

import pytest
from session import Session
from web import serve

from benchmarks.guest_console import HAS_ADDRESS
from benchmarks.passt import started_passt
from ringfence.image.debian import Guest

SIZE = 4 << 20


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.skipif(shutil.which("passt") is None, reason="passt is not installed")
def test_out_and_in(debian: Guest, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    published = _free_port()
    kernel = ("--kernel", debian.kernel, "--initrd", debian.initrd, "--append", "console=ttyS0 quiet")
    with serve(tmp_path) as port, started_passt([f"{published}:80"]) as path:
        session = Session(*kernel, "--network", path)
        try:
            session.boot().run(HAS_ADDRESS)
            session.run("mkdir /www; cd /www")
            # the gateway stands for this host's loopback
            session.run("host=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')")
            session.run(f"wget -q http://$host:{port}/data; httpd -h /www")
            assert hashlib.md5(data).hexdigest() in session.run("md5sum data")
            with urllib.request.urlopen(f"http://127.0.0.1:{published}/data", timeout=60) as answer:
                assert answer.read() == data
            assert session.power_off() == 0
        finally:
            session.kill()
