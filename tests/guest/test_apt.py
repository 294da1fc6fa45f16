"""Debian's own apt-get in a guest, which installs from a repository on the host, through the gateway."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from account import User
from web import serve

from benchmarks.guest_console import HAS_ADDRESS
from benchmarks.userland import add_tree, unpack_packages
from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import Guest, fetch_package

pytestmark = pytest.mark.nightly

#: In the guest from the start: apt and dpkg with all that they are linked with.
INSTALLED = (
    "apt", "libapt-pkg6.0", "dpkg", "tar", "libc-bin", "libc6", "libgcc-s1", "libstdc++6", "zlib1g",
    "libzstd1", "liblzma5", "libbz2-1.0", "liblz4-1", "libgcrypt20", "libgpg-error0", "libsystemd0",
    "libudev1", "libcap2", "libxxhash0", "libgnutls30", "libhogweed6", "libidn2-0", "libnettle8",
    "libp11-kit0", "libffi8", "libtasn1-6", "libunistring2", "libgmp10", "libseccomp2", "libacl1",
    "libattr1", "libselinux1", "libpcre2-8-0", "libmd0",
)  # fmt: skip
#: In the repository: a program, and the library that it depends on.
OFFERED = ("openssl", "libssl3")
#: There is nobody but root in this system.
APT_GET = "apt-get -o APT::Sandbox::User=root"
FOLDERS = (
    "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial", "var/log/apt", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
    "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
)  # fmt: skip
#: What dpkg is told of those that are installed; some of what they depend on is left out.
FIELDS = ("Package", "Version", "Architecture", "Multi-Arch", "Maintainer", "Description")


def control(package: str, *fields: str) -> str:
    command = ["dpkg-deb", "--field", str(fetch_package(package)), *fields]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_repository(folder: Path) -> None:
    """Flat: packages, and their index."""
    folder.mkdir()
    index = ""
    for name in OFFERED:
        data = fetch_package(name).read_bytes()
        (folder / f"{name}.deb").write_bytes(data)
        index += control(name) + f"Filename: ./{name}.deb\nSize: {len(data)}\n"
        index += f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    (folder / "Packages").write_text(index)


def make_system(folder: Path, guest: Guest, port: int) -> bytes:
    """An initial RAM filesystem in which dpkg knows what is installed, and apt where there is more."""
    unpack_packages(INSTALLED, folder)
    # with its table of processors, which is left out of the others' usr/share
    subprocess.run(["dpkg-deb", "--extract", fetch_package("dpkg"), folder], check=True)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    status = "".join(f"{control(name, *FIELDS)}Status: install ok installed\n\n" for name in INSTALLED)
    (folder / "var/lib/dpkg/status").write_text(status)
    (folder / "etc/apt/sources.list").write_text(f"deb [trusted=yes] http://gateway:{port}/ ./\n")
    archive = CpioWriter()
    add_tree(archive, folder)
    return guest.initrd.read_bytes() + archive.finish()


def test_apt_get_installs_through_the_network(user: User, debian: Guest, tmp_path: Path) -> None:
    make_repository(tmp_path / "repository")
    with serve(tmp_path / "repository") as port:
        kernel = user.new_file("kernel", debian.kernel.read_bytes())
        initrd = user.new_file("initrd", make_system(tmp_path / "root", debian, port))
        user.ringfence(
            *("run", "-d", "--name", "box", "--memory", "1G", "--kernel", kernel, "--initrd", initrd),
            *("--append", "console=ttyS0 quiet", "--network", "user", "--allow", "127.0.0.1"),
        )
        user.type(f"exec box sh -c '{HAS_ADDRESS}'")
        user.type(f"exec box {APT_GET} update")
        shown = user.type(f"exec box {APT_GET} install -y --no-install-recommends openssl")
    assert "Setting up libssl3" in shown and "Setting up openssl" in shown
    assert "OpenSSL 3." in user.type("exec box openssl version")
