"""The default guest: Debian's own kernel, with busybox as user space.

    >>> kernel, initrd = fetch_debian()

It comes from a Debian mirror: the one passed, that of ``RINGFENCE_DEBIAN_MIRROR``, or the machine's own apt
configuration. No mirror's address is in this program. All of it is cached, and the second time needs
no network.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

from ringfence.agent import guest_program
from ringfence.errors import ImageError, UserError
from ringfence.image import apt, deb, initramfs
from ringfence.image.archive import Archive, Package, Progress, no_progress
from ringfence.image.cache import Cache
from ringfence.image.modules import canonical, closure
from ringfence.image.modules import depends as module_depends

MIRROR_VARIABLE = "RINGFENCE_DEBIAN_MIRROR"
#: The suite for a machine that is not a Debian itself.
DEFAULT_SUITE = "bookworm"
#: Debian's package that always depends on the newest kernel, by architecture.
KERNELS = {"amd64": "linux-image-cloud-amd64", "i386": "linux-image-686-pae"}
USER_SPACE = "busybox-static"
_MODULE = re.compile(r"(?:usr/)?lib/modules/[^/]+/(kernel/.+\.ko)")


class Guest(NamedTuple):
    """Two files to boot."""

    kernel: Path
    initrd: Path


def fetch_debian(
    mirror: str | None = None,
    suite: str | None = None,
    arch: str = "amd64",
    progress: Progress = no_progress,
    cache: Cache | None = None,
) -> Guest:
    """Debian's kernel and an initial RAM filesystem that ends in a shell.

    Raises:
        UserError: something is neither cached nor to be had from a mirror.
    """
    if arch not in KERNELS:
        raise UserError(f"no Debian guest for {arch}: choose one of {', '.join(KERNELS)}")
    cache = cache or Cache()
    archive = _archive(mirror, suite, arch, progress, cache)
    kernel = archive.package(_newest_kernel(archive.package(KERNELS[arch])))
    busybox = archive.package(USER_SPACE)
    agent = guest_program(arch)
    scripts = (initramfs.INIT, initramfs.DHCP_SCRIPT, initramfs.PROFILE)
    programs = [kernel.sha256, busybox.sha256, hashlib.sha256(agent).hexdigest()]
    ingredients = [*programs, *scripts, *initramfs.MODULES]
    recipe = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]
    note_name = f"guests/debian-{archive.suite}-{arch}-{recipe}"
    guest = _cached_guest(cache, note_name)
    if guest is None:
        progress("building the guest", 0, 0)
        _build(cache, note_name, archive.download(kernel), archive.download(busybox), agent)
        guest = _cached_guest(cache, note_name)
    if guest is None:
        raise UserError(f"{cache.root}: the cache does not keep what is written to it")
    return guest


def fetch_package(
    name: str,
    arch: str = "amd64",
    mirror: str | None = None,
    suite: str | None = None,
    progress: Progress = no_progress,
    cache: Cache | None = None,
) -> Path:
    """A Debian package's ``.deb`` file, verified and cached; see `deb.members` for what is in it.

    Raises:
        UserError: it is neither cached nor to be had from a mirror.
    """
    archive = _archive(mirror, suite, arch, progress, cache or Cache())
    return archive.download(archive.package(name))


def _archive(mirror: str | None, suite: str | None, arch: str, progress: Progress, cache: Cache) -> Archive:
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    suite = suite or _host_suite()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", suite):
        raise UserError(f"not a Debian suite: {suite!r}")
    if mirror is not None and "://" not in mirror:
        raise UserError(f"not a mirror's URL: {mirror!r} (write http://HOST/debian)")
    mirrors = [mirror] if mirror else _apt_mirrors(suite)
    return Archive(mirrors, suite, arch, cache, progress)


def _apt_mirrors(suite: str) -> list[str]:
    """The mirrors in apt's configuration: those with the suite itself, else those with any of Debian's."""
    candidates = [source for source in apt.sources() if "main" in source.components]
    same = [source for source in candidates if source.suite == suite]
    return list(dict.fromkeys(source.uri for source in same or candidates))


def _host_suite() -> str:
    """This machine's suite where it is a Debian, so that the user's own mirror has it."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return DEFAULT_SUITE
    if release.get("ID") == "debian":
        return release.get("VERSION_CODENAME") or DEFAULT_SUITE
    return DEFAULT_SUITE


def _newest_kernel(meta: Package) -> str:
    match = re.search(r"\blinux-image-[0-9][^\s,(|]*", meta.depends)
    if match is None:
        raise UserError(f"{meta.name} {meta.version} depends on no kernel image")
    return match.group()


def _cached_guest(cache: Cache, note_name: str) -> Guest | None:
    note = cache.note(note_name) or {}
    kernel = cache.blob("vmlinuz", str(note.get("vmlinuz")))
    initrd = cache.blob("initrd", str(note.get("initrd")))
    return Guest(kernel, initrd) if kernel and initrd else None


def _build(cache: Cache, note_name: str, kernel_deb: Path, busybox_deb: Path, agent: bytes) -> None:
    """Take the packages apart and keep the guest's two files, and then the note that names them."""
    release, vmlinuz, modules = _kernel_files(kernel_deb)
    found = deb.members(busybox_deb, lambda name: name.endswith("bin/busybox"))
    busybox = next((content for _, content in found), None)
    if not vmlinuz or busybox is None:
        raise ImageError(f"{busybox_deb if vmlinuz else kernel_deb}: lacks the file that it is known for")
    initrd = initramfs.build(busybox, release, modules, agent)
    note = {"vmlinuz": cache.add_blob("vmlinuz", vmlinuz), "initrd": cache.add_blob("initrd", initrd)}
    cache.add_note(note_name, note)


def _kernel_files(package: Path) -> tuple[str, bytes, dict[str, bytes]]:
    """The kernel's release, its image and the modules that a guest gets.

    Two passes, since a module's dependencies may come before it, and all modules at once would take
    hundreds of megabytes.
    """
    depends = {
        canonical(name): module_depends(module)
        for name, module in deb.members(package, lambda name: _MODULE.fullmatch(name) is not None)
    }
    chosen = closure(initramfs.MODULES, depends)
    release, vmlinuz, modules = "", b"", {}
    for name, content in deb.members(
        package, lambda name: name.startswith("boot/vmlinuz-") or canonical(name) in chosen
    ):
        if match := _MODULE.fullmatch(name):
            modules[match.group(1)] = content
        elif name.startswith("boot/"):
            release, vmlinuz = name.removeprefix("boot/vmlinuz-"), content
    return release, vmlinuz, modules
