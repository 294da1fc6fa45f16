"""A machine of `ringfence run` in this very process: registered as others are, and in the same jail."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.errors import HostError
from ringfence.log import logger

if TYPE_CHECKING:
    from ringfence.api.places import Place
    from ringfence.api.spec import Spec
    from ringfence.vmm.machine import Machine
    from ringfence.vmm.managed import Managed


@dataclass(frozen=True, slots=True)
class Entry:
    """A machine to be; it has no place where this host has none for sockets or state."""

    spec: Spec
    place: Place | None

    def open(self, machine: Machine) -> AbstractContextManager[Managed | None]:
        """The machine's control socket and its log."""
        from ringfence.vmm.managed import Managed

        return nullcontext() if self.place is None else Managed(self.place, self.spec, machine)


@contextmanager
def registered(is_removed: bool, about: dict[str, Any], options: dict[str, Any]) -> Iterator[Entry]:
    """Reserve a name, which goes into ``options``.

    Where this host has no place for sockets or state, and the user gave no name, the machine runs without.

    Raises:
        UserError: the name is taken.
    """
    from ringfence.api.spec import Spec
    from ringfence.host.ports import choose_ports
    from ringfence.host.spawn import reserve
    from ringfence.host.vm import absolute

    options["publish"] = choose_ports(options["publish"])
    wanted = Spec(**about, machine=absolute(options), is_removed=is_removed)
    try:
        place, spec = reserve(wanted)
    except HostError as error:
        if wanted.name:
            raise
        logger.info("the machine is not registered: %s", error)
        yield Entry(wanted, None)
        return
    options["name"] = place.name
    held = -1
    try:
        held = place.hold()
        yield Entry(spec, place)
    finally:
        if is_removed or not place.exit.exists():
            place.remove()
        if held >= 0:
            os.close(held)


class Jail:
    """The jail of this process, the same as a detached machine's; made before the machine is, while there is
    one thread.

    Args:
        outputs: files that the command writes when the machine has ended.
    """

    def __init__(self, entry: Entry, outputs: Iterable[Path]) -> None:
        from ringfence.vmm.jail import prepare
        from ringfence.vmm.managed import jail_plan
        from ringfence.vmm.translation_cache import TranslationCache

        plan = jail_plan(entry.place, entry.spec)
        # Who asks for the cache in the foreground fills it: see docs/design/threat-model.md.
        cache = [TranslationCache().directory] if entry.spec.machine.get("translation_cache") else []
        self._plan = replace(plan, writable=(*plan.writable, *cache), made=(*plan.made, *outputs))
        self._held = prepare(self._plan)

    def shut(self, machine: Machine, managed: Managed | None) -> None:
        """When all is open, before the guest runs."""
        from ringfence.vmm.jail import enter

        machine.confine = self._plan.confine_vcpu
        held = self._held | enter(self._plan)
        if managed is not None:
            managed.requests.jail = held
