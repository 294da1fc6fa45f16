"""The system calls with which a process gives rights away: prctl(2), seccomp(2), landlock(7)."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_PR_SET_NO_NEW_PRIVS = 38
_SYS_SECCOMP = 317
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SECCOMP_SET_MODE_FILTER = 1
_FILTER_TSYNC, _FILTER_SPEC_ALLOW = 1 << 0, 1 << 2
_RULESET_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _syscall(number: int, *arguments: Any) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def set_no_new_privs() -> None:
    """No program run from here on can have more rights than this one.

    Raises:
        OSError: the host refuses.
    """
    words = [ctypes.c_ulong(word) for word in (1, 0, 0, 0)]
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, *words) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def install_filter(program: bytes, all_threads: bool) -> None:
    """Put a seccomp filter on this thread, and on those it starts; or on every thread there is.

    Raises:
        OSError: the host refuses, or a thread has filters of its own.
    """
    # Without SPEC_ALLOW older kernels make every load wait for the stores before it.
    flags = _FILTER_SPEC_ALLOW | (_FILTER_TSYNC if all_threads else 0)
    record = _Program(len(program) // 8, program)
    mode = ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER)
    failed = _syscall(_SYS_SECCOMP, mode, ctypes.c_ulong(flags), ctypes.byref(record))
    if failed:
        raise OSError(0, f"thread {failed} has a filter of its own")


def landlock_abi() -> int:
    """The version of Landlock that the host has, 0 for none."""
    try:
        return _syscall(
            _SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_RULESET_VERSION)
        )
    except OSError:
        return 0


def create_ruleset(abi: int, files: int, network: int, scopes: int) -> int:
    """A descriptor of rules that forbid what is named here, until `allow_beneath` allows it in places.

    Raises:
        OSError: the host refuses.
    """
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _Ruleset(files, network, scopes)
    return _syscall(
        _SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )


def allow_beneath(ruleset: int, parent: int, allowed: int) -> None:
    """Allow these rights on a file, or on a directory and all that is below it.

    Raises:
        OSError: the host refuses.
    """
    rule = _PathBeneath(allowed, parent)
    kind = ctypes.c_int(_RULE_PATH_BENEATH)
    _syscall(_SYS_LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), kind, ctypes.byref(rule), ctypes.c_uint32(0))


def restrict_self(ruleset: int) -> None:
    """Obey the rules, on this thread and those it starts, for ever.

    Raises:
        OSError: the host refuses.
    """
    _syscall(_SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
