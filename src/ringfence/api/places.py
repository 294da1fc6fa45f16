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
    socket: Path

    @property
    def config(self) -> Path:
        return self.directory / "config.json"

    @property
    def lock(self) -> Path:
        return self.socket.with_suffix(".lock")

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def console_log(self) -> Path:
        return self.directory / "console.log"

    @property
    def exit(self) -> Path:
        return self.directory / "exit.json"

    def remove(self) -> None:
        """All of it. What is no file of ours keeps the directory."""
        for path in (self.config, self.log, self.console_log, self.exit, self.socket, self.lock):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()


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
    socket = runtime_root() / f"{name}.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT:
        raise UserError(f"{socket} is too long for a socket's name: set XDG_RUNTIME_DIR to a shorter one")
    return Place(name, state_root() / name, socket)
