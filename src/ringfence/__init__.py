"""Ringfence: a virtual machine monitor for people without /dev/kvm and without root.

>>> from ringfence import Machine
>>> with Machine(kernel="vmlinuz", initrd="initrd", memory="512M") as vm:
...     vm.start()
...     vm.console.expect("login:")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringfence.version import __version__

if TYPE_CHECKING:
    from ringfence.host.vm import VM
    from ringfence.vmm.machine import Machine
    from ringfence.vmm.outcome import Kind, Outcome

__all__ = ["VM", "Kind", "Machine", "Outcome", "__version__"]

_HOMES = {"Machine": "vmm.machine", "Outcome": "vmm.outcome", "Kind": "vmm.outcome", "VM": "host.vm"}


def __getattr__(name: str) -> object:
    """Imports the machine when it is asked for: `ringfence --help` does not pay for it."""
    if name in _HOMES:
        import importlib

        value: object = getattr(importlib.import_module(f"ringfence.{_HOMES[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
