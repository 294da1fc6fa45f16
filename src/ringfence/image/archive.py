"""A Debian archive: its signed index, and packages out of it, each checked against that index.

The chain is that of apt-secure(8): Debian's keyring signs ``InRelease``, which has the SHA-256 of
``Packages.xz``, which has the SHA-256 of every package. What a run has looked up is noted in the cache, so
the next one needs no network.

Apt's own library is not used: it is not on every host, and wants root for its lists.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import itertools
import logging
import lzma
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ringfence.errors import UserError
from ringfence.image import apt
from ringfence.image.cache import Cache

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Seconds without a byte from the mirror before it counts as unreachable.
TIMEOUT_S = 30
#: An index that claims to be larger than this is not downloaded: Debian's are a tenth of it.
INDEX_LIMIT_BYTES = 128 << 20
_CHUNK_BYTES = 256 << 10

log = logging.getLogger(__name__)

#: progress(what, bytes done, bytes in all); in all is 0 while unknown.
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done_bytes: int, total_bytes: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package's entry in the index."""

    name: str
    version: str
    filename: str
    sha256: str
    size_bytes: int
    depends: str


class Archive:
    """One suite of a Debian archive, for one architecture.

    ``mirrors`` are tried in order when something is not in the cache yet; each is a base URL such as
    ``http://mirror.example/debian``. With none of them, only what is in the cache can be had.
    """

    def __init__(
        self,
        mirrors: Iterable[str],
        suite: str,
        architecture: str,
        cache: Cache,
        progress: Progress = no_progress,
        keyring: Path = KEYRING,
    ) -> None:
        self._mirrors = list(mirrors)
        self.suite = suite
        self.architecture = architecture
        self._cache = cache
        self._progress = progress
        self._keyring = keyring
        self._mirror = ""
        self._index: dict[str, Package] | None = None

    def package(self, name: str) -> Package:
        """The newest package of that name: from the cache's notes, else from the mirror's index.

        Raises:
            UserError: no such package, or no mirror answers.
        """
        note = self._cache.note(self._note_name(name))
        if note is not None:
            try:
                return Package(**note)
            except TypeError:
                pass  # written by another version: look it up again
        index = self._fetched_index()
        if name not in index:
            raise UserError(f"{self._mirror}: {self.suite}/{self.architecture} has no package {name}")
        self._cache.add_note(self._note_name(name), asdict(index[name]))
        return index[name]

    def download(self, package: Package) -> Path:
        """The package's file, from the cache or the mirror, its SHA-256 checked.

        Raises:
            UserError: no mirror answers, or what it sends is not the package.
        """
        name = Path(package.filename).name
        if found := self._cache.blob(name, package.sha256):
            return found
        self._fetched_index()
        newest = self.package(package.name)
        if newest != package:  # an old note: mirrors drop a package when its successor comes
            return self.download(newest)
        path = self._cache.blob_path(name, package.sha256)
        with self._cache.replacing(path) as file:
            self._fetch(self._url(package.filename), package.size_bytes, package.sha256, file, name)
        return path

    def _note_name(self, package: str) -> str:
        return f"packages/{self.suite}-{self.architecture}/{package}"

    def _url(self, path: str) -> str:
        return f"{self._mirror}/{path}"

    def _fetched_index(self) -> dict[str, Package]:
        """The archive's index as the first mirror that answers has it; its notes are renewed."""
        if self._index is None:
            if not self._mirrors:
                raise UserError(
                    "no Debian mirror is known: pass --mirror URL or set RINGFENCE_DEBIAN_MIRROR=URL"
                )
            errors = []
            for mirror in self._mirrors:
                self._mirror = mirror.rstrip("/")
                try:
                    self._index = self._fetch_index()
                    break
                except _Unreachable as error:
                    errors.append(str(error))
            else:
                raise UserError(f"not in the cache, and no Debian mirror answers: {'; '.join(errors)}")
            for name in self._index:
                if self._cache.note(self._note_name(name)) is not None:
                    self._cache.add_note(self._note_name(name), asdict(self._index[name]))
        return self._index

    def _fetch_index(self) -> dict[str, Package]:
        release = self._fetched_release()
        path = f"main/binary-{self.architecture}/Packages.xz"
        match = re.search(rf"^ ([0-9a-f]{{64}}) +(\d+) {re.escape(path)}$", release, re.MULTILINE)
        if match is None:
            raise UserError(f"{self._mirror}: {self.suite} has no packages for {self.architecture}")
        sha256, size_bytes = match.group(1), int(match.group(2))
        if size_bytes > INDEX_LIMIT_BYTES:
            raise UserError(f"{self._mirror}: its package index is implausibly large ({size_bytes} bytes)")
        packed = io.BytesIO()
        url = self._url(f"dists/{self.suite}/{path}")
        self._fetch(url, size_bytes, sha256, packed, f"{self.suite} package index")
        packed.seek(0)
        try:
            with lzma.open(packed) as unpacked:
                return _parse_index(line.decode("utf-8", "replace") for line in unpacked)
        except (lzma.LZMAError, EOFError) as error:
            raise UserError(f"{url}: damaged ({error})") from error

    def _fetched_release(self) -> str:
        """The text of InRelease, after its signature is checked."""
        url = self._url(f"dists/{self.suite}/InRelease")
        signed = io.BytesIO()
        self._fetch(url, 0, "", signed, f"{self.suite} release")
        gpgv = shutil.which("gpgv")
        if gpgv is None or not self._keyring.exists():
            missing = "gpgv" if gpgv is None else str(self._keyring)
            log.warning("unverified: %s is not here to check the signature of %s", missing, url)
            return signed.getvalue().decode("utf-8", "replace")
        checked = subprocess.run(
            [gpgv, "--keyring", str(self._keyring), "--output", "-"],
            input=signed.getvalue(), capture_output=True, check=False,
        )  # fmt: skip
        if checked.returncode != 0:
            raise UserError(f"{url}: not signed by Debian (gpgv with {self._keyring} refuses it)")
        return checked.stdout.decode("utf-8", "replace")

    def _fetch(self, url: str, size_bytes: int, sha256: str, file: IO[bytes], what: str) -> None:
        """Copy a URL into ``file``; a size of 0 and an empty hash are unknown ones."""
        limit = size_bytes or INDEX_LIMIT_BYTES
        digest = hashlib.sha256()
        done = 0
        try:
            with _opener(url).open(url, timeout=TIMEOUT_S) as response:
                while chunk := response.read(min(_CHUNK_BYTES, limit + 1 - done)):
                    digest.update(chunk)
                    done += len(chunk)
                    file.write(chunk)
                    self._progress(what, done, size_bytes)
        except urllib.error.HTTPError as error:
            raise _Unreachable(f"{url}: {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise _Unreachable(f"{url}: {reason}") from error
        if done > limit or (size_bytes and done != size_bytes):
            raise _Unreachable(f"{url}: cut short or too long ({done} of {limit} bytes)")
        if sha256 and digest.hexdigest() != sha256:
            raise UserError(f"{url}: its SHA-256 is not the one in the signed index")


class _Unreachable(UserError):
    """A mirror does not have the file or does not answer; another one may."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Through apt's proxy where apt has one, else through that of the environment."""
    proxies = apt.proxies(url)
    scheme = urlsplit(url).scheme
    if scheme in proxies:
        by_scheme = {scheme: proxies[scheme]} if proxies[scheme] else {}
        return urllib.request.build_opener(urllib.request.ProxyHandler(by_scheme))
    return urllib.request.build_opener()


def _parse_index(lines: Iterable[str]) -> dict[str, Package]:
    """The packages of an index. The suites we read hold one version of each; of several the last counts."""
    index: dict[str, Package] = {}
    fields: dict[str, str] = {}
    for line in itertools.chain(lines, ["\n"]):
        if line == "\n":
            if fields.keys() >= {"Package", "Version", "Filename", "SHA256", "Size"}:
                index[fields["Package"]] = Package(
                    fields["Package"], fields["Version"], fields["Filename"], fields["SHA256"],
                    int(fields["Size"]), fields.get("Depends", ""),
                )  # fmt: skip
            fields = {}
        elif not line.startswith((" ", "\t")):
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return index
