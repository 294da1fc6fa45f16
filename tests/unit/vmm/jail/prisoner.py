"""The escaped guest: is jailed in a process of its own, tries to get out, and prints what it could do.

Its own code calls the kernel directly, as injected machine code would.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from ringfence.api.config import MachineConfig
from ringfence.vmm.jail.jail import Plan, enter, prepare

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> str:
    result = getattr(libc, name)(*arguments)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def attempt(work: Callable[[], object]) -> str:
    """``done``, or the error's name."""
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (ValueError, RuntimeError) as error:  # how Python puts it for limits and threads
        return str(error)
    return "done"


def attempts(folder: Path, victim: int) -> dict[str, str]:
    secret, share = folder / "secret", folder / "share"
    inet = lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)  # noqa: E731
    return {
        "read a file": attempt(lambda: open(secret)),
        "write a file": attempt(lambda: open(folder / "new", "w")),
        "list a directory": attempt(lambda: os.listdir(folder)),
        "leave the share by a link": attempt(lambda: open(share / "out")),
        "leave the share by its parent": attempt(lambda: open(share / "../secret")),
        "remove a file": attempt(lambda: os.unlink(secret)),
        "move a file in": attempt(lambda: os.rename(secret, share / "mine")),
        "link a file in": attempt(lambda: os.link(secret, share / "mine")),
        "read in the share": attempt(lambda: open(share / "file")),
        "write in the share": attempt(lambda: (share / "mark").write_text("x")),
        "remove the state": attempt(
            lambda: ((folder / "vms/own/file").unlink(), (folder / "vms/own").rmdir())
        ),
        "remove another empty directory": attempt(lambda: (folder / "other").rmdir()),
        "read the state": attempt(lambda: (folder / "vms/state/log").read_text()),
        "another's memory": attempt(lambda: open(f"/proc/{victim}/mem")),
        "another's environment": attempt(lambda: open(f"/proc/{victim}/environ")),
        "fork": attempt(os.fork),
        "internet socket": attempt(inet),
        "local socket": attempt(lambda: socket.socket(socket.AF_UNIX)),
        "socket pair": attempt(socket.socketpair),
        "signal": attempt(lambda: os.kill(victim, 15)),
        "signal itself": attempt(lambda: os.kill(os.getpid(), 0)),
        "type on the terminal": call("ioctl", 0, 0x5412, b"x"),
        "set a limit": attempt(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))),
        "executable memory": attempt(lambda: mmap.mmap(-1, 4096, mmap.MAP_PRIVATE, 7)),
        "make memory executable": call("mprotect", None, 4096, 5),
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "new namespace": call("unshare", 0x10000000),
        "io_uring": call("syscall", 425, 4, None),
        "open by handle": call("syscall", 304, -100, None, 0),
        "keys": call("syscall", 248, b"user", b"x", b"x", 1, -2),
        "thread": attempt(lambda: threading.Thread(target=int).start()),
    }


def main() -> None:
    """``FOLDER VICTIM WHAT``: what is ``process``, ``vcpu``, or the name of a system call to die of."""
    folder, victim, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    shares = [f"{folder}/share:/mnt"] if "share" in what else []
    config = MachineConfig(folder / "kernel", shares=shares)
    plan = Plan.of(config, writable=[folder / "vms/state", folder / "vms/own"])
    before = threading.Event()
    early = threading.Thread(target=before.wait, daemon=True)
    held = prepare(plan)
    early.start()
    held |= enter(plan)
    result: dict[str, str] = {}
    if what.startswith("process"):
        result = attempts(folder, victim)
    elif what.startswith("vcpu"):

        def vcpu() -> None:
            plan.confine_vcpu()
            result.update(attempts(folder, victim))

        thread = threading.Thread(target=vcpu)
        thread.start()
        thread.join()
    elif what == "execve":
        os.execv("/bin/true", ["true"])
    elif what == "ptrace":
        libc.ptrace(16, victim, None, None)
    print(json.dumps({"held": held, "result": result}))


if __name__ == "__main__":
    main()
