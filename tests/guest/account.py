"""An account without rights, and users with no machines that work there.

Where the tests are run by root, as in many containers, all that a user starts is run as somebody else:
`setpriv` drops root for good. That one can't look into root's directories, and gets copies of what it needs.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pexpect

from ringfence.host.registry import list_machines
from ringfence.image.cache import default_root
from ringfence.image.debian import Guest

#: Whose files are nobody's.
NOBODY = 65534
#: Longer than a guest takes to boot while the host does something else.
SECONDS = 300
#: What the command line imports.
PACKAGES = ("ringfence", "click", "rich", "markdown_it", "mdurl", "pygments")
#: What names a guest that was fetched; the files themselves are blobs.
NOTES = ("guests", "packages")


class Account:
    """One for a test session; `new_user` makes users, each with directories of its own."""

    def __init__(self, debian: Guest) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rf-"))
        self.prefix: tuple[str, ...] = ()
        self.python = sys.executable
        self.environment = {"HOME": str(self.home)}
        self._is_other = os.geteuid() == 0
        if self._is_other:
            # setpriv starts a program with root's last rights, from which env starts another without any
            self.prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env")
            self.give(self.home)
            self._move_in(debian)
            self.python = self._interpreter()
        else:
            self.environment["XDG_CACHE_HOME"] = str(default_root().parent)

    def _move_in(self, debian: Guest) -> None:
        """Copy the program and a guest to where nobody may read them."""
        library, cache = self.home / "lib", self.home / "cache"
        self.environment |= {"PYTHONPATH": str(library), "XDG_CACHE_HOME": str(cache)}
        for name in PACKAGES:
            found = find_spec(name)
            assert found is not None and found.origin is not None, name
            shutil.copytree(Path(found.origin).parent, library / name, ignore=shutil.ignore_patterns("*.c"))
        for note in NOTES:
            shutil.copytree(default_root() / note, cache / "ringfence" / note)
        blobs = cache / "ringfence" / "blobs"
        blobs.mkdir()
        for path in debian:
            shutil.copy(path, blobs)
        self.give(cache)
        for path in (library, *library.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))

    def _interpreter(self) -> str:
        """The tests' own, or the system's of the same version where that one lies in root's home."""
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        tried = [sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"]
        for python in tried:
            command = [*self.prefix, python, "-c", "import ringfence.core.fingerprint, click"]
            done = subprocess.run(
                command, env=os.environ | self.environment, cwd=self.home, capture_output=True
            )
            if done.returncode == 0:
                return python
        raise AssertionError(f"user {NOBODY} can run none of {', '.join(tried)}")

    def give(self, path: Path) -> Path:
        """Make it the account's, with all below it."""
        if self._is_other:
            for each in (path, *path.rglob("*")):
                os.chown(each, NOBODY, NOBODY, follow_symlinks=False)
        return path

    def new_user(self) -> User:
        return User(self, self.give(Path(tempfile.mkdtemp(dir=self.home))))

    def close(self) -> None:
        shutil.rmtree(self.home)


class User:
    """Somebody with no machines.

    Attributes:
        folder: theirs; ``work`` in it is where their commands run.
        environment: of their commands.
    """

    def __init__(self, account: Account, folder: Path) -> None:
        self.account = account
        self.folder = folder
        self.work = self.new_folder("work")
        self.environment = os.environ | account.environment
        for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
            self.environment[variable] = str(self.new_folder(name))

    def new_folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o700)
        return self.account.give(path)

    def new_file(self, name: str, data: bytes) -> Path:
        """In ``work``."""
        path = self.work / name
        path.write_bytes(data)
        return self.account.give(path)

    def command(self, *arguments: str | Path) -> list[str]:
        """`ringfence` with these arguments, as this user."""
        return self.python("-m", "ringfence", *arguments)

    def python(self, *arguments: str | Path) -> list[str]:
        return [*self.account.prefix, self.account.python, *map(str, arguments)]

    def ringfence(self, *arguments: str | Path, status: int = 0) -> str:
        """Its output, or what it has to say where it has to fail."""
        done = self.run(self.command(*arguments))
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
            cwd=self.work, env=self.environment,
        )  # fmt: skip

    def spawn(self, *arguments: str | Path) -> pexpect.spawn:
        """`ringfence` on a terminal."""
        command = self.command(*arguments)
        child = pexpect.spawn(
            command[0], command[1:], timeout=SECONDS, encoding="utf-8", cwd=str(self.work),
            env=self.environment,
        )  # fmt: skip
        child.delaybeforesend = None
        return child

    def type(self, line: str, status: int = 0) -> str:
        """What `ringfence` and this line, as a shell splits it, show on a terminal."""
        child = self.spawn(*shlex.split(line))
        child.expect(pexpect.EOF)
        child.close()
        shown = str(child.before).replace("\r\n", "\n")
        assert child.exitstatus == status, (line, child.exitstatus, child.signalstatus, shown)
        return shown

    def states(self, *arguments: str) -> dict[str, str]:
        """Machines as `ps` has them."""
        found: list[dict[str, Any]] = json.loads(self.ringfence("ps", "--json", *arguments))
        return {each["name"]: each["state"] for each in found}

    def left(self) -> list[str]:
        """Files, sockets and directories of machines and switches, where the test's own process looks."""
        list(list_machines())  # sweeps up
        roots = ("run", "state", "ringfence", "vms", ".switches")
        return [
            str(path)
            for name in ("run", "state")
            for path in (self.folder / name).rglob("*")
            if path.name not in roots
        ]

    def wait_until_nothing_is_left(self) -> None:
        """No file and no process: a switch goes after its last machine, a process after its last word."""
        deadline = time.monotonic() + SECONDS
        while found := [*self.left(), *self.processes()]:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def processes(self) -> list[str]:
        """Command lines in which this user's folder is named, as it is in those of machines and switches."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if os.fsencode(self.folder) in line:
                found.append(f"{entry.name}: {os.fsdecode(line)}")
        return found
