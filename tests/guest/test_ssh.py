"""`ringfence ssh` to a guest that runs an ssh server, through a published port."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from benchmarks.guest_console import HAS_ADDRESS
from benchmarks.userland import add_tree, unpack_packages
from ringfence import VM
from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import Guest

pytestmark = pytest.mark.nightly  # it wants ssh, and packages of its own

SECONDS = 120
PACKAGES = "dropbear-bin libtomcrypt1 libtommath1 libgmp10 libcrypt1 zlib1g libc6 libgcc-s1"
#: at a prompt busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def key(debian: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key of a user whose machine `box` has a server that takes it."""
    home = tmp_path_factory.mktemp("home")
    (home / "run").mkdir(mode=0o700)
    key = home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    unpack_packages(PACKAGES.split(), home / "tree")
    archive = CpioWriter()
    add_tree(archive, home / "tree")
    (home / "initrd").write_bytes(debian.initrd.read_bytes() + archive.finish())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        with VM.create(
            debian.kernel, initrd=home / "initrd", append="console=ttyS0 quiet", name="box", network="user",
            publish=[f"{free_port()}:22"],
        ) as vm:  # fmt: skip
            vm.exec(
                "mkdir -p -m 700 /root/.ssh /etc/dropbear; ldconfig; echo /bin/sh > /etc/shells", check=True
            )
            vm.cp(f"{key}.pub", ":/root/.ssh/authorized_keys")
            vm.exec("dropbear -R -s -E", check=True)
            vm.exec(HAS_ADDRESS, check=True)
            yield key


def command(key: Path, *words: str) -> list[str]:
    options = ["-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    return [sys.executable, "-m", "ringfence", "ssh", "root@box", *options, *words]


def run(key: Path, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(key, *words), input=data, capture_output=True, timeout=SECONDS)


def test_a_command_with_its_streams_and_status(key: Path) -> None:
    done = run(key, "cat; echo err >&2; exit 3", data=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in\n", b"err\n")


def test_much_data_both_ways(key: Path) -> None:
    data = os.urandom(4 << 20)
    done = run(key, "tee /tmp/copy; sha256sum /tmp/copy >&2", data=data)
    assert done.stdout == data
    assert done.stderr.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_terminal(key: Path) -> None:
    line = " ".join(map(shlex.quote, command(key)))
    script = f"stty -g; {line}; echo status=$?; stty -g"
    child = pexpect.spawn("bash", ["-c", script], timeout=SECONDS, encoding="utf-8", dimensions=(24, 80))
    child.delaybeforesend = None
    try:
        child.expect(r"([0-9a-f:]{40,})\r\n")
        before = child.match.group(1)
        child.expect(PROMPT)
        child.send("stty size\r")
        child.expect(r"\n24 80\r")
        child.setwinsize(50, 132)
        child.expect(PROMPT)
        child.send("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; stty size\r")
        child.expect(r"\n50 132\r")
        child.expect(PROMPT)
        child.send("sh -c 'echo asleep$((1)); exec sleep 1000'\r")
        child.expect(r"\nasleep1\r")
        child.send("\x03")
        child.expect(PROMPT)
        child.send("exit 5\r")
        child.expect(r"status=5\r\n")
        child.expect(r"([0-9a-f:]{40,})\r\n")
        assert child.match.group(1) == before
    finally:
        child.kill(signal.SIGKILL)
        child.close()
