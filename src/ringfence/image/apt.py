"""What this machine's apt knows: its package sources and its proxy.

Reads the two formats of sources.list(5), one line each and deb822, and apt-transport-mirror(1)'s
``mirror+file:`` lists. The proxy is asked of apt-config(8), because apt.conf(5) is too rich to parse.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ETC_APT = Path("/etc/apt")


@dataclass(frozen=True)
class Source:
    """One suite of one archive, such as ``bookworm`` of a mirror."""

    uri: str
    suite: str
    components: tuple[str, ...]


def sources(etc: Path = ETC_APT) -> list[Source]:
    """The binary package sources in apt's order, without repetition."""
    parts = sorted((etc / "sources.list.d").glob("*"))
    found: list[Source] = []
    for path in [etc / "sources.list", *parts]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            found += _parse_lines(text)
        elif path.suffix == ".sources":
            found += _parse_deb822(text)
    return list(dict.fromkeys(found))


def _parse_lines(text: str) -> Iterator[Source]:
    """``deb [option=value ...] uri suite component ...``"""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        words = words[1:]
        if words and words[0].startswith("["):
            ends = [at for at, word in enumerate(words) if word.endswith("]")]
            words = words[ends[0] + 1 :] if ends else []
        if len(words) >= 2:
            yield from _expand(words[0], words[1], tuple(words[2:]))


def _parse_deb822(text: str) -> Iterator[Source]:
    for stanza in stanzas(text):
        fields = {key.lower(): value for key, value in stanza.items()}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield from _expand(uri, suite, components)


def _expand(uri: str, suite: str, components: tuple[str, ...]) -> Iterator[Source]:
    """The source itself, or the first mirror that its mirror list names."""
    if uri.startswith("mirror+file:"):
        try:
            listed = Path(urlsplit(uri).path).read_text(encoding="utf-8", errors="replace").split()
        except OSError:
            return
        uri = next((word for word in listed if "://" in word), "")
    if uri.startswith(("http:", "https:", "file:")):
        yield Source(uri.rstrip("/"), suite, components)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a deb822(5) text; a folded field keeps its line breaks."""
    fields: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, key = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            if key:
                fields[key] += "\n" + line.strip()
        else:
            key, colon, value = line.partition(":")
            if colon:
                fields[key] = value.strip()
            else:
                key = ""
    if fields:
        yield fields


def proxies(uri: str) -> dict[str, str]:
    """The proxy that apt would take to ``uri``, by scheme; empty: none set, so the environment decides."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or shutil.which("apt-config") is None:
        return {}
    name = f"Acquire::{parts.scheme}::Proxy"
    for option in (f"{name}::{parts.hostname}", name):
        shell = subprocess.run(
            ["apt-config", "shell", "PROXY", option], capture_output=True, text=True, check=False
        )
        proxy = shell.stdout.strip().removeprefix("PROXY=").strip("'")
        if proxy:
            return {parts.scheme: "" if proxy == "DIRECT" else proxy}
    return {}
