"""A Debian user space with real programs, unpacked from packages: laid over the default guest's busybox.

The same files run on the host without root, by their own dynamic loader: `Tree.native`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.userland import add_tree, unpack_packages
from ringfence.image.cpio import CpioWriter

#: By what needs them first. What a package only depends on for graphics and the like is left out.
PACKAGES = {
    "all": "libc6 libgcc-s1 libstdc++6 zlib1g libzstd1 liblzma5 libbz2-1.0 libcrypt1 libssl3 libtinfo6",
    "stress-ng": "stress-ng libapparmor1 libbsd0 libmd0 libegl1 libglvnd0 libgbm1 libgles2 libdrm2 libexpat1 "
    "libwayland-server0 libffi8 libipsec-mb1 libjpeg62-turbo libjudydebian1 libkmod2 libsctp1 libxxhash0 "
    "libxcb-randr0 libxcb1 libxau6 libxdmcp6",
    "openssl": "openssl",
    "sqlite": "sqlite3 libsqlite3-0 libreadline8",
    "python": "python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-testsuite",
    "gcc": "gcc gcc-12 cpp cpp-12 libgcc-12-dev libc6-dev linux-libc-dev libisl23 libmpc3 libmpfr6 libgmp10",
    "as": "binutils binutils-x86-64-linux-gnu binutils-common libbinutils libctf0 libjansson4",
}
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")


class Tree:
    """The files, in a folder of the host."""

    def __init__(self, root: Path) -> None:
        self._root = root
        unpack_packages(" ".join(PACKAGES.values()).split(), root)

    def archive(self, folder: str, extra: Path) -> bytes:
        """All of it as a second initial RAM filesystem, with the files of ``extra`` in ``folder``."""
        archive = CpioWriter()
        add_tree(archive, self._root)
        for path in sorted(extra.iterdir()):
            archive.file(f"{folder}/{path.name}", path.read_bytes())
        return archive.finish()

    def native(self, program: str, *arguments: str | Path) -> str:
        """What a program of the tree prints when the host's processor runs it."""
        loader = self._root / LIBRARIES[0] / "ld-linux-x86-64.so.2"
        libraries = ":".join(str(self._root / name) for name in LIBRARIES)
        command = [loader, "--library-path", libraries, self._root / program, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
