"""Every error Ringfence raises, on one screen.

An exception means that the *host* or the *user's input* failed. What a guest does is never an
exception: guest nonsense is a value (a guest fault, a counter, a log line).
"""

from __future__ import annotations


class RingfenceError(Exception):
    """Base of all errors. Its text is one line: what was wrong and what to do."""

    #: even, as all statuses of `vmm.outcome` but the guest's own
    exit_status = 10


class UserError(RingfenceError):
    """The user's input can't be used: a missing file, a flag's value, too little memory."""

    exit_status = 2


class ImageError(UserError):
    """A kernel, initrd, ROM or disk image is missing, empty, truncated or of another kind."""


class DiskBusy(UserError):
    """A disk image is locked by another virtual machine."""


class HostError(RingfenceError):
    """The host refused something the VMM needs: memory, a mapping, a file."""


class UnsafeCode(RingfenceError):
    """The verifier has found translated code that breaks a rule."""


class BadAddress(RingfenceError):
    """A guest-physical range is not RAM. Devices catch it and count it; it never leaves them."""


class AgentError(RingfenceError):
    """The guest has no agent, it does not answer, or it could not do what was asked."""


class ExpectTimeout(RingfenceError, TimeoutError):
    """What a caller waited for on a guest's console did not appear."""
