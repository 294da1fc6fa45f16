"""Where machines live, by the XDG Base Directory Specification.

$XDG_RUNTIME_DIR/ringfence/NAME.sock       the control socket, while the machine runs
$XDG_RUNTIME_DIR/ringfence/NAME.lock       locked as long as its process lives, however that ends
$XDG_STATE_HOME/ringfence/vms/NAME/        what outlives its process
    config.json   what it was created from
    log           what the VMM said; console.log: what the guest printed, the last of it
    exit.json     how it ended; missing after a crash
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ringfence.errors import HostError, UserError

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
#: sockaddr_un.sun_path holds 108 bytes, the last of them 0.
SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one machine."""

    name: str
    directory: Path
    runtime: Path

    @property
    def socket(self) -> Path:
        return self.runtime / "socket"

    @property
    def lock(self) -> Path:
        return self.runtime / "lock"

    @property
    def config(self) -> Path:
        return self.directory / "config.json"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def console_log(self) -> Path:
        return self.directory / "console.log"

    @property
    def exit(self) -> Path:
        return self.directory / "exit.json"

    def hold(self) -> int:
        """Lock the machine's name on this host for as long as this process lives; the descriptor that does.

        A record lock (fcntl) tells others the process's number, and dies with it. The process must not open
        the file again: closing that would give the lock up.

        Raises:
            HostError: another process has it.
        """
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise HostError(f"{self.name} has a process already") from error
        return fd

    def remove(self) -> None:
        """All of it, as far as this process may. What is no file of ours keeps its directory."""
        for path in (self.config, self.log, self.console_log, self.exit, self.socket, self.lock):
            path.unlink(missing_ok=True)
        for directory in (self.directory, self.runtime):
            with contextlib.suppress(OSError):
                directory.rmdir()


def state_root() -> Path:
    """Where machines' directories are; it need not exist."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(os.path.expanduser("~")) / ".local" / "state"
    return base / "ringfence" / "vms"


def runtime_root() -> Path:
    """Where sockets are: below XDG_RUNTIME_DIR, or where there is none in /tmp."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        return Path(base) / "ringfence"
    return Path(f"/tmp/ringfence-{os.geteuid()}")


def make_private(directory: Path) -> Path:
    """The directory, made where it is missing, for this user alone.

    Raises:
        HostError: it can't be made, or is somebody else's.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise HostError(f"cannot make {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HostError(f"{directory} is not a directory of yours; set XDG_RUNTIME_DIR and XDG_STATE_HOME")
    return directory


def place(name: str) -> Place:
    """Raises:
    UserError: no machine can have that name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UserError(f"no name for a machine: {name!r} (letters, digits, '_', '.', '-'; at most 63)")
    place = Place(name, state_root() / name, runtime_root() / name)
    if len(os.fsencode(place.socket)) > SOCKET_PATH_LIMIT:
        raise UserError(f"{place.socket} is too long for a socket: set XDG_RUNTIME_DIR to a shorter path")
    return place
