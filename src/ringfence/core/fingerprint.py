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


def is_fresh() -> bool:
    """Whether the built core was made from the sources beside it."""
    if not FILE.exists():
        return False
    return f'"{fingerprint()}"' in FILE.read_text()
