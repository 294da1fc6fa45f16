"""Reads Debian binary packages: deb(5), an ar(5) archive that holds a compressed tar archive.

Nothing is written to the host's disk: the caller says which members it wants and gets their bytes.
Whoever calls has checked the package's SHA-256 already; a damaged one is an `ImageError` anyway.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ringfence.errors import ImageError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60

_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "data.tar": lambda raw: raw,
    "data.tar.gz": gzip.open,
    "data.tar.bz2": bz2.open,
    "data.tar.xz": lzma.open,
}


def members(package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Each regular file of a package whose name (no leading ``./``) is wanted, and its content.

    Raises:
        ImageError: not a Debian package, a damaged one, or of an unknown compression.
    """
    try:
        with (
            package.open("rb") as raw,
            tarfile.open(fileobj=_data_archive(raw, package), mode="r|") as tar,
        ):
            for info in tar:
                name = info.name.removeprefix("./")
                if info.isreg() and wanted(name):
                    content = tar.extractfile(info)
                    assert content is not None  # a regular file has content
                    yield name, content.read()
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise ImageError(f"{package}: not a Debian package, or damaged ({error})") from error


def _data_archive(raw: IO[bytes], package: Path) -> Any:
    """The package's file tree as a tar stream: ``raw`` is left at its first compressed byte."""
    if raw.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ImageError(f"{package}: not a Debian package (no ar archive)")
    while len(header := raw.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = header[48:58].strip()
        if not size.isdigit():
            break
        if name.startswith("data.tar"):
            if name not in _OPENERS:
                raise ImageError(f"{package}: its files are packed as {name}, which is not supported")
            return _OPENERS[name](raw)
        raw.seek(int(size) + int(size) % 2, 1)
    raise ImageError(f"{package}: not a Debian package (no data archive)")
