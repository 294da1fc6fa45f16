"""Translated code for Linux perf: /tmp/perf-PID.map, one line a block.

The format is in the kernel's tools/perf/Documentation/jit-interface.txt.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ringfence.api.translations import Translations
from ringfence.errors import HostError
from ringfence.inspection.symbols import SystemMap


def map_path(pid: int) -> Path:
    """Where perf looks for it."""
    return Path(f"/tmp/perf-{pid}.map")


def open_perf_map(path: Path) -> TextIO:
    """A new file; what is at ``path`` is never followed, for /tmp is everybody's.

    Raises:
        HostError: the host doesn't let us.
    """
    try:
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    return open(fd, "w")


def write_perf_map(processors: Iterable[Translations], symbols: SystemMap | None, file: TextIO) -> None:
    """Raises:
    HostError: the host doesn't let us.
    """
    try:
        with file:
            for found in processors:
                file.writelines(_lines(found, symbols))
    except OSError as error:
        raise HostError(f"the map for perf: {error.strerror}") from error


def _lines(found: Translations, symbols: SystemMap | None) -> Iterator[str]:
    code = found.layout.code[0]
    positions = sorted(found.layout.routines)
    ends = [*positions[1:], found.blocks[0].entry if found.blocks else positions[-1] + 1]
    for at, end in zip(positions, ends, strict=True):
        yield f"{code + at:x} {end - at:x} ringfence:{found.layout.routines[at]}\n"
    for block in found.blocks:
        name = symbols.name(block.rip) if symbols else None
        yield f"{code + block.entry:x} {len(block.host):x} guest:{name or format(block.rip, 'x')}\n"
