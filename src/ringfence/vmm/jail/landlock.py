"""Which files a jailed process can open, by Landlock: what is listed, and nothing else.

Rights and versions are those of the kernel's ``include/uapi/linux/landlock.h``. A thread's rules hold for the
threads that it starts, not for those that run already.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ringfence.vmm.jail import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << n for n in range(4))
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
NETWORK = 0b11
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1

READ = READ_FILE | READ_DIR
_MAKE = MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
WRITE = READ | WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE | _MAKE
#: Of these, what makes sense for something that is no directory.
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def file_rights(abi: int) -> int:
    """All rights on files that this version governs."""
    return (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1


def confine(rights: Mapping[Path, int], may_connect: bool) -> int:
    """Keep this thread, and those it starts, to these rights on files, or on directories with all that is
    below them; the version of Landlock that does, 0 for none.

    A path that is not there is left out. Signals and abstract sockets of other processes are out of reach as
    well, and TCP unless it ``may_connect``, where the version has that.
    """
    abi = kernel.landlock_abi()
    if abi == 0:
        return 0
    governed = file_rights(abi)
    network = NETWORK if abi >= 4 and not may_connect else 0
    scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if abi >= 6 else 0
    try:
        ruleset = kernel.create_ruleset(abi, governed, network, scopes)
    except OSError:
        return 0
    try:
        for path, allowed in rights.items():
            _allow(ruleset, path, allowed & governed)
        kernel.set_no_new_privs()
        kernel.restrict_self(ruleset)
    except OSError:
        return 0
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        kernel.allow_beneath(ruleset, fd, rights if is_directory else rights & _OF_FILES)
    finally:
        os.close(fd)
