"""Translated code kept from one run to the next, under the XDG cache directory.

One file for each kind of processor and each build of the core: a translation is good for no other. It is
code that will run in this process, so only a file that nobody else could have written is read: in a
directory of this user's with nobody else's permissions, of this user's, and with the checksum that it
was written with. Anything else counts as absent. Files appear by an atomic rename, so runs side by side
need no lock; the last one wins.

A guest can't write there, but a process that it has taken over could, as it could write any of its
user's files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ringfence.core.fingerprint import built_from
from ringfence.errors import UserError
from ringfence.image.cache import Cache
from ringfence.log import logger

MAGIC = b"ringfence translations 1\n"
DIGEST_BYTES = 32
#: of translations in one file
LIMIT_BYTES = 64 << 20
#: files kept: what other models, hosts and versions left is removed, the oldest first
FILES = 8
#: a run that made fewer than this share of its translations anew writes nothing
FRESH = 0.05


class Translating(Protocol):
    """What is wanted of a vCPU."""

    @property
    def model(self) -> str: ...

    @property
    def translation_key(self) -> bytes: ...

    def counters(self) -> Mapping[str, Any]: ...

    def store_translations(self, limit: int) -> bytes: ...

    def use_translations(self, stored: bytes) -> bool: ...


class TranslationCache:
    """The files of one user.

    Args:
        root: the cache directory; None for ``$XDG_CACHE_HOME/ringfence``.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._cache = Cache(root)
        self.directory = self._cache.root / "translations"

    def path(self, vcpu: Translating) -> Path:
        """Where this processor's translations lie or would lie."""
        key = hashlib.sha256(f"{built_from()} {vcpu.model} ".encode() + vcpu.translation_key).hexdigest()
        return self.directory / f"{vcpu.model}-{key[:24]}"

    def load(self, vcpu: Translating) -> bool:
        """Give the processor what an earlier run has left. False: there is nothing that could be trusted."""
        stored = self._read(self.path(vcpu))
        return stored is not None and vcpu.use_translations(stored)

    def save(self, vcpu: Translating) -> bool:
        """Keep its translations if enough of them are new. False: nothing was written."""
        count = vcpu.counters()
        made = count.get("translations", 0)
        fresh = made - count.get("translations_from_store", 0) - count.get("translations_replicated", 0)
        if fresh <= FRESH * made:
            return False
        stored = vcpu.store_translations(LIMIT_BYTES)
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._cache.replacing(self.path(vcpu)) as file:
                file.write(MAGIC + _digest(stored))
                file.write(stored)
            self._remove_old()
        except (OSError, UserError) as error:
            logger.info("translations are not kept: %s", error)
            return False
        return True

    def _read(self, path: Path) -> bytes | None:
        try:
            if not _is_ours(self.directory.stat()):
                logger.warning("%s is not this user's alone: translations there are not used", self.directory)
                return None
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(file, "rb") as opened:
                if not _is_ours(os.fstat(file)):
                    logger.warning("%s is not this user's alone: it is not used", path)
                    return None
                content = opened.read(len(MAGIC) + DIGEST_BYTES + 2 * LIMIT_BYTES)
        except OSError:
            return None
        stored = content[len(MAGIC) + DIGEST_BYTES :]
        if not content.startswith(MAGIC) or content[len(MAGIC) :][:DIGEST_BYTES] != _digest(stored):
            logger.warning("%s is damaged: it is not used", path)
            return None
        return stored

    def _remove_old(self) -> None:
        files = sorted(self.directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[FILES:]:
            path.unlink(missing_ok=True)


def _digest(stored: bytes) -> bytes:
    return hashlib.blake2b(stored, digest_size=DIGEST_BYTES).digest()


def _is_ours(status: os.stat_result) -> bool:
    """This user's, and nobody else may write it."""
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o022
