"""Exits: why guest execution stopped. Reasons as Python sees them.

One row here for each member of `ExitReason` in exits.pxd; the Vcpu's ``exit`` gives the record.
"""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why ``run`` returned; the same numbers as ``ExitReason``."""

    NONE = 0
    IO = 1
    MMIO = 2
    HLT = 3
    INTERRUPTED = 4
    IRQ_WINDOW = 5
    EOI = 6
    IPI = 7
    SHUTDOWN = 8
    DEBUG = 9
    FAIL = 10
    HYPERCALL = 11
    FERR = 12
