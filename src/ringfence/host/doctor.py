"""What this host offers a VMM, found by trying it."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ringfence.api import places
from ringfence.errors import RingfenceError
from ringfence.host.kvm_probe import probe as probe_kvm
from ringfence.units import GIB, MIB

CLONE_NEWUSER = 0x1000_0000
_LANDLOCK_CREATE_RULESET, _LANDLOCK_VERSION_FLAG = 444, 1
_PR_GET_SECCOMP = 21
#: Programs of the host that are used where they are, and what for.
PROGRAMS = {
    "passt": "--network /path/to/its/socket",
    "ssh": "'ringfence ssh'",
    "gpgv": "the signature of Debian's index",
}
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        state: ``ok``, ``none`` (Ringfence does without) or ``bad`` (machines will not run).
    """

    name: str
    state: str
    text: str


def examine() -> Iterator[Finding]:
    """All findings, in an order to read them in."""
    yield _core()
    yield _code_buffers()
    kvm = probe_kvm()
    yield Finding("KVM", "none" if kvm else "ok", kvm or "runs guests; Ringfence does not use it")
    yield _user_namespaces()
    yield _landlock()
    yield _seccomp()
    yield _memory()
    yield _descriptors()
    yield _directory("sockets", places.runtime_root)
    yield _directory("state", places.state_root)
    for program, purpose in PROGRAMS.items():
        path = shutil.which(program)
        yield Finding(program, "ok" if path else "none", path or f"not installed: no {purpose}")


def _core() -> Finding:
    try:
        import ringfence.core.x86.vcpu  # noqa: F401
    except ImportError as error:
        return Finding("compiled core", "bad", f"{error}; run 'pip install' again")
    return Finding("compiled core", "ok", f"for Python {sys.version_info.major}.{sys.version_info.minor}")


def _code_buffers() -> Finding:
    """Translated code is written through one mapping and run through another."""
    try:
        fd = os.memfd_create("doctor")
    except OSError as error:
        return Finding("code buffers", "bad", f"memfd_create: {error.strerror}")
    try:
        os.ftruncate(fd, mmap.PAGESIZE)
        with mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC):
            return Finding("code buffers", "ok", "memory of this process may be executed")
    except OSError as error:
        return Finding("code buffers", "bad", f"executable memory is forbidden here: {error.strerror}")
    finally:
        os.close(fd)


def _user_namespaces() -> Finding:
    child = os.fork()
    if child == 0:
        os._exit(_libc.unshare(CLONE_NEWUSER) != 0)
    _, status = os.waitpid(child, 0)
    return Finding(
        "user namespaces",
        "none" if status else "ok",
        "forbidden; Ringfence needs none" if status else "allowed; Ringfence needs none",
    )


def _landlock() -> Finding:
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return Finding("Landlock", "none", "not in this kernel: the jail has no file-system rules")
    return Finding("Landlock", "ok", f"version {version} of its interface")


def _seccomp() -> Finding:
    found = _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)
    if found < 0:
        return Finding("seccomp", "none", "not in this kernel: the jail has no filter of system calls")
    return Finding("seccomp", "ok", "available" + (", and used on us already" if found else ""))


def _memory() -> Finding:
    available = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limit = "" if soft == resource.RLIM_INFINITY else f"; a process may have {soft // MIB} MiB (ulimit -v)"
    is_small = 0 <= soft < GIB
    return Finding("memory", "bad" if is_small else "ok", f"{available // MIB} MiB free{limit}")


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Finding("open files", "ok" if soft >= 256 else "bad", f"{soft}, at most {hard} (ulimit -n)")


def _directory(name: str, find: Callable[[], Path]) -> Finding:
    try:
        path = places.make_private(find())
    except RingfenceError as error:
        return Finding(name, "bad", str(error))
    return Finding(name, "ok", str(path))
