"""A Debian file tree with gzip, Python and gcc, unpacked from packages: the same for every machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.programs import SOURCES, add_init
from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import fetch_package

#: By what needs them first: fetch_package() gets one package.
PACKAGES = {
    "gzip": "gzip libc6 libgcc-s1 zlib1g libzstd1",
    "python": "python3-minimal python3.11-minimal libpython3.11-minimal libexpat1",
    "gcc": "gcc gcc-12 cpp cpp-12 libgcc-12-dev libc6-dev linux-libc-dev libisl23 libmpc3 libmpfr6 libgmp10",
    "as": "binutils binutils-x86-64-linux-gnu binutils-common libbinutils libctf0 libjansson4 libstdc++6",
}
#: What no work here touches, and guest RAM would have to hold.
LEFT_OUT = (
    "usr/share",
    "usr/lib/gcc/x86_64-linux-gnu/12/lto1",
    "usr/lib/gcc/x86_64-linux-gnu/12/plugin",
    "usr/bin/x86_64-linux-gnu-lto-dump-12",
)


def unpack_packages(packages: Iterable[str], root: Path) -> None:
    """Debian packages laid over each other in ``root``, less what is left out."""
    for package in packages:
        subprocess.run(["dpkg-deb", "--extract", fetch_package(package), root], check=True)
    for name in LEFT_OUT:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def add_tree(archive: CpioWriter, root: Path, left_out: str = "") -> None:
    """All that is in ``root``, but for the file ``left_out``."""
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            archive.symlink(name, str(path.readlink()))
        elif path.is_dir():
            archive.directory(name)
        elif name != left_out:
            archive.file(name, path.read_bytes(), path.stat().st_mode & 0o777)


def unpack(folder: Path, init: Path) -> Path:
    """The tree as a folder, with ``init`` in it and the sources of our programs in /usr/src."""
    root = folder / "root"
    unpack_packages(" ".join(PACKAGES.values()).split(), root)
    shutil.copytree(SOURCES, root / "usr/src", dirs_exist_ok=True)
    shutil.copy(init, root / "init")
    (root / "tmp").mkdir(exist_ok=True)
    return root


def pack(root: Path, initrd: Path) -> Path:
    """The tree as a guest's initial RAM filesystem."""
    archive = CpioWriter()
    add_tree(archive, root, left_out="init")
    add_init(archive, root / "init")
    initrd.write_bytes(archive.finish())
    return initrd
