"""Picks kernel modules and what they depend on, from the modules' own ``.modinfo``.

A Debian kernel package has no ``modules.dep``: depmod(8) makes it at installation. The same facts are in each
module as ``depends=`` and ``alias=`` strings, so it is made here, for the few modules that a guest gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath


def canonical(name: str) -> str:
    """A module's name as the kernel knows it: ``virtio-rng.ko`` is ``virtio_rng``."""
    return PurePosixPath(name).name.partition(".")[0].replace("-", "_")


def closure(wanted: Iterable[str], depends: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """``wanted`` and all that they need, each with what it needs directly.

    ``depends`` has every module there is. What it does not have is built into the kernel, and left out.
    """
    needs: dict[str, list[str]] = {}
    todo = [name for name in wanted if name in depends]
    while todo:
        name = todo.pop()
        if name not in needs:
            needs[name] = [need for need in depends[name] if need in depends]
            todo += needs[name]
    return needs


def dependency_file(needs: Mapping[str, list[str]], paths: Mapping[str, str]) -> str:
    """``modules.dep``: each module's path, then the paths of all it needs, the nearest first."""
    lines = []
    for name in sorted(needs):
        chain: list[str] = []
        todo = list(needs[name])
        while todo:
            need = todo.pop(0)
            if need in chain:
                chain.remove(need)  # needed deeper down as well: it has to be loaded earlier
            chain.append(need)
            todo += needs[need]
        lines.append(" ".join([f"{paths[name]}:", *(paths[need] for need in chain)]))
    return "\n".join(lines) + "\n"


def alias_file(modules: Mapping[str, bytes]) -> str:
    """``modules.alias``: which module drives which device."""
    lines = [f"alias {alias} {name}" for name in sorted(modules) for alias in aliases(modules[name])]
    return "\n".join(lines) + "\n"


def depends(module: bytes) -> list[str]:
    """The names of the modules that this one says it needs."""
    match = re.search(rb"\0depends=([!-~]*)\0", module)
    return [canonical(name) for name in match.group(1).decode("ascii").split(",") if name] if match else []


def aliases(module: bytes) -> list[str]:
    """The devices that this module says it drives."""
    return sorted({match.decode("ascii") for match in re.findall(rb"\0alias=([!-~]+)(?=\0)", module)})
