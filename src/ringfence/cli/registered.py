"""A machine of `ringfence run` in this very process, entered where `ringfence ps` and the others look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ringfence.errors import HostError
from ringfence.log import logger


@contextmanager
def registered(
    is_removed: bool, about: dict[str, Any], options: dict[str, Any]
) -> Iterator[Callable[[Any], AbstractContextManager[object]]]:
    """Reserve a name, which goes into ``options``; what is yielded opens a machine's control socket.

    Where this host has no place for sockets or state, and the user gave no name, the machine runs without.

    Raises:
        UserError: the name is taken.
    """
    from ringfence.api.spec import Spec
    from ringfence.host.spawn import reserve
    from ringfence.host.vm import absolute

    wanted = Spec(**about, machine=absolute(options), is_removed=is_removed)
    try:
        place, spec = reserve(wanted)
    except HostError as error:
        if wanted.name:
            raise
        logger.info("the machine is not registered: %s", error)
        yield lambda machine: nullcontext()
        return
    options["name"] = place.name
    held = -1

    def enter(machine: Any) -> AbstractContextManager[object]:
        from ringfence.vmm.managed import Managed

        return Managed(place, spec, machine)

    try:
        held = place.hold()
        yield enter
    finally:
        if is_removed or not place.exit.exists():
            place.remove()
        if held >= 0:
            os.close(held)
