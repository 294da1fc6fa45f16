"""Where a switch is found, and how it comes to be: its first machine starts it, and it ends with its last.

    $XDG_RUNTIME_DIR/ringfence/.switches/NAME.sock     where it listens
    $XDG_RUNTIME_DIR/ringfence/.switches/NAME.lock     held by who connects, and by the switch when it leaves
    $XDG_RUNTIME_DIR/ringfence/.switches/NAME.log      what it said, gone with it unless that was something

The socket listens before the process runs, so nobody waits for a switch to be ready. The lock makes the two
moments exclude each other in which somebody comes and the switch leaves.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ringfence.api import places
from ringfence.errors import HostError

_BACKLOG = 128
#: connections made before they are wanted
_early: dict[str, socket.socket] = {}


def folder() -> Path:
    """Where switches are found."""
    return places.runtime_root() / ".switches"


def connect(name: str) -> socket.socket:
    """A connection to the switch, which is started if there is none.

    Raises:
        HostError: the host has no place for it.
    """
    if name in _early:
        return _early.pop(name)
    places.make_private(places.runtime_root())
    path = places.make_private(folder()) / f"{name}.sock"
    if len(os.fsencode(path)) > places.SOCKET_PATH_LIMIT:
        raise HostError(f"{path} is too long for a socket's name: set XDG_RUNTIME_DIR to a shorter one")
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with locked(path):
            try:
                connected.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                try:
                    _start(path)
                    connected.connect(str(path))
                except OSError:
                    remove(path)
                    raise
    except OSError as error:
        connected.close()
        raise HostError(f"can't reach switch {name!r}: {error.strerror}") from error
    return connected


def connect_early(name: str) -> None:
    """Make the connection that the next `connect` returns, before this process gives up the right to.

    Raises:
        HostError: the host has no place for it.
    """
    _early[name] = connect(name)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a switch's socket.

    Raises:
        BlockingIOError: another process holds it, and this one does not want to wait.
    """
    lock = path.with_suffix(".lock")
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_file_of(fd, lock):
                yield
                return
        finally:
            os.close(fd)


def remove(path: Path) -> None:
    """All that a switch has left, by who holds its lock. A log that says something stays."""
    log = path.with_suffix(".log")
    with suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _is_file_of(fd: int, path: Path) -> bool:
    """Whether the lock is still the one that others find: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _start(path: Path) -> None:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(_BACKLOG)
        fd = listening.fileno()
        with open(path.with_suffix(".log"), "wb", opener=_private) as log:
            subprocess.Popen(
                [sys.executable, "-c", _DETACH, "ringfence-switch", str(path), str(fd)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(fd,),
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            ).wait()


#: The switch is a grandchild, so it belongs to nobody and leaves no zombie.
_DETACH = """\
import os, sys
if os.fork():
    os._exit(0)
from ringfence.network.switch.process import main
main(sys.argv[2], int(sys.argv[3]))
"""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
