"""Guests that Ringfence can fetch itself, as arguments of `Machine`."""

from __future__ import annotations

from typing import Any

from ringfence.errors import UserError
from ringfence.image.archive import Progress, no_progress

DEFAULT_GUEST = "debian"
GUESTS = (DEFAULT_GUEST,)
#: Their kernels' command line, where the user gives none.
DEBIAN_APPEND = "console=ttyS0 quiet"


def fetch_guest(guest: str, mirror: str | None = None, progress: Progress = no_progress) -> dict[str, Any]:
    """Kernel, initrd and command line.

    Raises:
        UserError: there is no such guest, or it can't be had.
    """
    if guest not in GUESTS:
        raise UserError(f"no guest {guest!r}: choose {', '.join(GUESTS)}, or pass --kernel FILE")
    from ringfence.image.debian import fetch_debian

    fetched = fetch_debian(mirror=mirror, progress=progress)
    return {"kernel": fetched.kernel, "initrd": fetched.initrd, "append": DEBIAN_APPEND}
