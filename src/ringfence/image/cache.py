"""Files kept between runs under the XDG cache directory, safe against crashes and other runs.

A *blob* is named by its SHA-256 and checked against that name whenever it is taken out, so a damaged one
counts as absent. A *note* is a small JSON object: it names blobs. Both appear by an atomic rename, complete
or not at all, so runs at the same time need no lock: they do the same work and write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ringfence.errors import UserError


def default_root() -> Path:
    """``$XDG_CACHE_HOME/ringfence``, by the XDG Base Directory Specification."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):
        return Path(home) / "ringfence"
    return Path(os.path.expanduser("~")) / ".cache" / "ringfence"


class Cache:
    """Blobs and notes in one directory."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def blob_path(self, name: str, sha256: str) -> Path:
        """Where a blob lies or would lie. ``name`` only makes the folder readable."""
        return self.root / "blobs" / f"{sha256}-{name}"

    def blob(self, name: str, sha256: str) -> Path | None:
        """The blob with this SHA-256, or None when it is absent or damaged."""
        path = self.blob_path(name, sha256)
        try:
            with path.open("rb") as file:
                is_whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return None
        return path if is_whole else None

    def add_blob(self, name: str, data: bytes) -> str:
        """Keep ``data``; returns its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.replacing(self.blob_path(name, sha256)) as file:
            file.write(data)
        return sha256

    def note(self, name: str) -> dict[str, Any] | None:
        """The note of that name, or None when it is absent or unreadable."""
        try:
            note = json.loads((self.root / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return note if isinstance(note, dict) else None

    def add_note(self, name: str, note: dict[str, Any]) -> None:
        with self.replacing(self.root / f"{name}.json") as file:
            file.write(json.dumps(note, indent=1, sort_keys=True).encode())

    @contextmanager
    def replacing(self, path: Path) -> Iterator[IO[bytes]]:
        """A new file that takes ``path``'s place when the block ends, and vanishes when it fails."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (renamed when it is complete)
                dir=path.parent, prefix=".new-", delete=False
            )
        except OSError as error:
            raise UserError(f"cannot write the cache {path.parent}: {error.strerror}") from error
        try:
            with file:
                yield file
            os.replace(file.name, path)
        except OSError as error:
            Path(file.name).unlink(missing_ok=True)
            raise UserError(f"cannot write the cache {path}: {error.strerror or error}") from error
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
