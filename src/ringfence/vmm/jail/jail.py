"""The jail of a VMM process: what it gives up before guest code runs, and can't get back.

    >>> plan = Plan.of(config, writable=[state])
    >>> held = prepare(plan)                    # first of all, while there is one thread
    >>> machine = Machine(...)                  # opens what it needs
    >>> machine.confine = plan.confine_vcpu
    >>> held |= enter(plan)                     # last, before the guest runs

Each step is the best that the host has: an old kernel, or one without Landlock, gives a weaker jail and not
none. The answers say what held, for `inspect`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringfence.api.config import MachineConfig
from ringfence.network.switch import rendezvous
from ringfence.vmm.jail import kernel, landlock, limits, policy

#: What Python needs to run on, and a resolver.
_SYSTEM = (
    "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/localtime",
    "/etc/ld.so.cache", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/proc/self",
    "/dev/urandom", "/dev/random",
)  # fmt: skip
_SYSTEM_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full")
#: Modules in machine code that are imported when they are needed, which would be too late.
_PRELOADED = ("iced_x86", "json", "linecache", "traceback", "encodings.idna", "unicodedata", "zlib")


@dataclass(frozen=True)
class Plan:
    """What a VMM process keeps.

    Attributes:
        readable, writable: files, and directories with all that is below them.
        made: files to write that are made first where they are not there.
        removable: directories that can be removed themselves, when they are empty.
        may_connect: it may open sockets to the internet, for its guest's network.
        switch: that it is plugged into; the connection is made before files are given up.
        has_shares: its vCPU threads open files, in the guest's shared directories.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    made: tuple[Path, ...] = ()
    removable: tuple[Path, ...] = ()
    may_connect: bool = False
    switch: str = ""
    has_shares: bool = False

    @classmethod
    def of(
        cls,
        config: MachineConfig,
        readable: Iterable[Path] = (),
        writable: Sequence[Path] = (),
    ) -> Plan:
        """What that machine needs, and these paths: the VMM's own, as the directory of its state.

        Those that are written can be removed at the end, as with ``--rm``.
        """
        network = config.net_config
        reads, writes, removable = list(readable), list(writable), tuple(writable)
        reads += [Path(path) for path in (config.kernel, config.initrd, config.firmware) if path is not None]
        for disk in config.disk_configs:
            (reads if disk.is_read_only else writes).append(disk.path)
        for share in config.share_configs:
            (reads if share.is_read_only else writes).append(share.path)
        made = () if network is None or network.capture is None else (network.capture,)
        may_connect = network is not None and network.kind == "user"
        switch = "" if network is None else network.switch
        return cls(tuple(reads), tuple(writes), made, removable, may_connect, switch, bool(config.shares))

    def confine_vcpu(self) -> None:
        """To be called on each vCPU's thread before guest code runs."""
        with contextlib.suppress(OSError):
            kernel.install_filter(policy.vcpu_filter(self.has_shares), all_threads=False)


def prepare(plan: Plan) -> dict[str, Any]:
    """Give up all files but the plan's, and Python's own; what held. While there is one thread only.

    Raises:
        HostError: there is no switch and none can be had.
    """
    if plan.switch:
        rendezvous.connect_early(plan.switch)
    for path in plan.made:
        with contextlib.suppress(OSError):  # who opens it says what is wrong with it
            path.touch()
    rights = dict.fromkeys(plan.readable, landlock.READ)
    rights |= {Path(name): landlock.READ | landlock.EXECUTE for name in (*_SYSTEM, *_python_paths())}
    rights |= dict.fromkeys((*map(Path, _SYSTEM_WRITABLE), *plan.writable, *plan.made), landlock.WRITE)
    for path in plan.removable:  # a right on the directory that it is in
        rights[path.parent] = rights.get(path.parent, 0) | landlock.REMOVE_DIR
    abi = landlock.confine(rights, plan.may_connect)
    return {
        "limits": limits.set_limits(),
        "landlock": abi,
        "unconfined_threads": threading.active_count() - 1 if abi else threading.active_count(),
        "readable": [str(path) for path in plan.readable],
        "writable": [str(path) for path in (*plan.writable, *plan.made)],
    }


def enter(plan: Plan) -> dict[str, Any]:
    """Give up all system calls but those of a running machine, on every thread; what held."""
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    held: dict[str, Any] = {"no_new_privs": False, "seccomp": False, "sockets": plan.may_connect}
    with contextlib.suppress(OSError):
        kernel.set_no_new_privs()
        held["no_new_privs"] = True
        program = policy.process_filter(os.getpid(), plan.may_connect)
        kernel.install_filter(program, all_threads=True)
        held["seccomp"] = True
    held["vcpu_opens_files"] = plan.has_shares
    return held


def _python_paths() -> list[str]:
    """Where modules are imported from, and Python itself, for a process that set-up may have to start."""
    names = {sys.prefix, sys.base_prefix, *sys.path, *site.getsitepackages(), *sysconfig.get_paths().values()}
    own = Path(__file__).parents[2]
    return [str(own), *sorted(name for name in names if name)]
