"""What a managed machine is created from: plain data in its config.json."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ringfence.api.config import MachineConfig
from ringfence.errors import RingfenceError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """One machine to be.

    Attributes:
        machine: arguments of `vmm.machine.Machine`, those that JSON can hold.
        guest: the recipe that kernel and initrd came from, "" for the user's own.
        is_removed: its directory goes when it ends (``--rm``).
        labels: the user's own words about it.
        host: where it runs. A home directory may be that of many hosts.
    """

    name: str
    machine: dict[str, Any]
    guest: str = ""
    is_removed: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    created_ns: int = field(default_factory=time.time_ns)
    host: str = field(default_factory=lambda: os.uname().nodename)

    @property
    def config(self) -> MachineConfig:
        """Raises:
        UserError: the values don't make a machine.
        """
        known = MachineConfig.__dataclass_fields__
        return MachineConfig(**{name: value for name, value in self.machine.items() if name in known})


def write_spec(spec: Spec, path: Path) -> None:
    replace_text(path, json.dumps({"ringfence": VERSION, **asdict(spec)}, indent=1, default=os.fspath))


def read_spec(path: Path) -> Spec:
    """Raises:
    RingfenceError: it is missing, damaged, or of another version.
    """
    try:
        value = json.loads(path.read_bytes())
        if value.pop("ringfence") != VERSION:
            raise ValueError("another version")
        return Spec(**value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RingfenceError(f"{path}: not the configuration of a machine") from error


def replace_text(path: Path, text: str) -> None:
    """The whole file or the one before, whatever happens."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text + "\n")
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
