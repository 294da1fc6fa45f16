"""A hash of the compiled sources: tells a stale build from a fresh one.

setup.py writes it beside the built modules; the tests refuse to run when it does not match.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

CORE = Path(__file__).resolve().parent
FILE = CORE / "_fingerprint.py"


def fingerprint(core: Path = CORE) -> str:
    """Hash of every .py and .pxd file below ``core``, but for the written fingerprint itself."""
    digest = hashlib.sha256()
    for path in sorted([*core.rglob("*.py"), *core.rglob("*.pxd")]):
        if path.name != FILE.name:
            digest.update(path.relative_to(core).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def built_from() -> str:
    """The hash of what the built core was made from; empty when nobody knows."""
    found = FILE.read_text().rpartition("BUILT_FROM")[2] if FILE.exists() else ""
    return found.strip(' =\n"')


def is_fresh() -> bool:
    """Whether the built core was made from the sources beside it."""
    return built_from() == fingerprint()
