"""Directories that a guest gets from its host, as their user writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ringfence.errors import UserError


@dataclass(frozen=True)
class ShareConfig:
    """A directory of the host that a guest mounts: by virtiofs, or by 9p where its kernel has no other."""

    path: Path
    guest_path: str
    is_read_only: bool = False
    is_9p: bool = False


def parse_share(text: str) -> ShareConfig:
    """``HOST:GUEST[:OPTIONS]``. A host's path may have colons: the guest's begins at the last ``:/``.

    Raises:
        UserError: it is written in another way.
    """
    path, _, rest = text.rpartition(":/")
    guest_path, _, options = rest.partition(":")
    chosen = set(options.split(",")) if options else set()
    if not path or not chosen <= {"ro", "rw", "9p"} or {"ro", "rw"} <= chosen:
        raise UserError(f"not a share: {text!r}: write HOST:/GUEST, HOST:/GUEST:ro or HOST:/GUEST:ro,9p")
    if not guest_path.isprintable() or set(guest_path) & set(" \"'\\"):
        raise UserError(f"a guest's path can't hold spaces, quotes or control characters: {guest_path!r}")
    return ShareConfig(Path(path), f"/{guest_path}", "ro" in chosen, "9p" in chosen)
