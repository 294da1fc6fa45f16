"""The network with a real kernel at its end: out, in by a published port, and between machines."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from account import Account, User
from session import Session
from web import serve

from benchmarks.guest_console import HAS_ADDRESS

SIZE_MIB = 16


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A web server on this host's loopback: its port, and the digest of its /data."""
    folder = tmp_path_factory.mktemp("web")
    data = os.urandom(SIZE_MIB << 20)
    (folder / "data").write_bytes(data)
    with serve(folder) as port:
        yield port, hashlib.md5(data).hexdigest()


def _free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def published() -> int:
    return _free_port()


@pytest.fixture(scope="module")
def guest(web: tuple[int, str], published: int, account: Account) -> Iterator[Session]:
    """A machine that may reach this host's loopback, by the gateway, and nothing else."""
    options = ("--network", "user", "--allow", "127.0.0.1", "-p", f"{published}:80")
    session = Session("debian", *options, user=account.new_user())
    try:
        session.boot()
        session.run(HAS_ADDRESS)
        yield session
    finally:
        session.kill()


def test_the_guest_has_what_it_was_given(guest: Session) -> None:
    assert "10.0.2.15/24" in guest.run("ip addr show eth0")
    assert "nameserver 10.0.2.3" in guest.run("cat /etc/resolv.conf")
    guest.run("until ip -6 addr show eth0 | grep -q fd52; do sleep 0.2; done")
    guest.run("ping -c 1 -W 10 gateway; ping6 -c 1 -W 10 fd52:5246:7266::2")


def test_echoes_longer_than_a_frame(guest: Session) -> None:
    for ping in ("ping -s 4000 -c 2 -W 10 gateway", "ping6 -s 4000 -c 2 -W 10 fd52:5246:7266::2"):
        assert "4008 bytes from" in guest.run(ping)


def test_out(guest: Session, web: tuple[int, str]) -> None:
    port, digest = web
    assert digest in guest.run(f"wget -q -O - http://gateway:{port}/data | md5sum")


def test_a_reboot_keeps_the_network(web: tuple[int, str], user: User) -> None:
    port, digest = web
    session = Session("debian", "--network", "user", "--allow", "127.0.0.1", user=user)
    try:
        session.boot()
        session.child.sendline("reboot")
        session.expect("turns the machine off")
        session.boot()
        session.run(HAS_ADDRESS)
        assert digest in session.run(f"wget -q -O - http://gateway:{port}/data | md5sum")
        assert session.power_off() == 0
    finally:
        session.kill()


def test_many_connections(guest: Session, web: tuple[int, str]) -> None:
    port, _ = web
    guest.run(
        f"for n in $(seq 20); do wget -q -O /dev/null http://gateway:{port}/none 2>/dev/null & done; wait"
    )
    assert "200" in guest.run(f"wget -S -O /dev/null http://gateway:{port}/data 2>&1")


def test_in_by_a_published_port(guest: Session, published: int) -> None:
    guest.run(f"mkdir -p /www; dd if=/dev/urandom of=/www/data bs=1M count={SIZE_MIB} 2>/dev/null")
    guest.run("pidof httpd || httpd -h /www")
    digest = guest.run("md5sum /www/data").split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{published}/data", timeout=60) as answer:
        assert hashlib.md5(answer.read()).hexdigest() == digest


def test_what_is_not_allowed_is_refused_at_once(guest: Session) -> None:
    begin = time.monotonic()
    assert "No route to host" in guest.run("wget -O - http://192.0.2.1/ 2>&1 || true")
    assert "refused" in guest.run("wget -O - http://10.0.2.2:1/ 2>&1 || true")
    assert "REFUSED" in guest.run("nslookup www.example.org || true")
    assert time.monotonic() - begin < 20


def test_machines_on_a_switch_know_one_another(user: User) -> None:
    sessions = [
        Session("debian", "--network", "lab", "--name", name, user=user)
        for name in ("alpha", "beta", "gamma")
    ]
    try:
        alpha, beta, gamma = (session.boot() for session in sessions)
        for session in sessions:
            session.run(HAS_ADDRESS)
        beta.run(
            f"mkdir /www; dd if=/dev/urandom of=/www/data bs=1M count={SIZE_MIB} 2>/dev/null; httpd -h /www"
        )
        digest = beta.run("md5sum /www/data").split()[0]
        assert digest in alpha.run("wget -q -O - http://beta/data | md5sum")
        assert digest in gamma.run("wget -q -O - http://beta.internal/data | md5sum")
        assert "1 packets received" in gamma.run("ping -c 1 -W 10 alpha")
        folder = user.folder / "run" / "ringfence" / ".switches"
        assert (folder / "lab.sock").exists()
        assert [session.power_off() for session in sessions] == [0, 0, 0]
        end = time.monotonic() + 20
        while os.listdir(folder):
            assert time.monotonic() < end, "the switch outlived its machines"
            time.sleep(0.1)
    finally:
        for session in sessions:
            session.kill()


@pytest.mark.nightly
def test_a_guest_gets_its_address_when_the_switch_has_time_for_it(user: User) -> None:
    user.ringfence("run", "-d", "--name", "one", "--network", "lab")
    (switch,) = [int(line.partition(":")[0]) for line in user.processes() if "ringfence-switch" in line]
    os.kill(switch, signal.SIGSTOP)
    try:
        time.sleep(20)  # longer than a DHCP client's first questions
        assert user.ringfence("exec", "one", "ip", "route") == ""
    finally:
        os.kill(switch, signal.SIGCONT)
    assert "10.0.2.2" in user.ringfence("exec", "one", "sh", "-c", f"{HAS_ADDRESS}; ip route")
