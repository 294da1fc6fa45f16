"""How a machine ended, and the exit status that `ringfence run` gives for it.

One table. All statuses are even, but for `debug_exit`: there the guest chose a value v and the
status is ``v << 1 | 1``, as every emulator with an isa-debug-exit device does it. So no ending
can pass for another. Refused: an odd status for anything that is not the guest's own word.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: The machine never ran because the user's input can't be used (`errors.UserError`).
USER_ERROR_STATUS = 2
#: A bug in Ringfence: sysexits.h's EX_SOFTWARE.
BUG_STATUS = 70


class Kind(enum.Enum):
    """The ways a machine can end."""

    POWER_OFF = "power_off"
    LEFT = "left"
    RESET = "reset"
    TRIPLE_FAULT = "triple_fault"
    HALTED = "halted"
    FAILED = "failed"
    DEBUG_EXIT = "debug_exit"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Row:
    """One ending: its exit status where that is fixed, how it is written, and what it means."""

    status: int | None
    written: str
    meaning: str


TABLE: dict[Kind, Row] = {
    Kind.POWER_OFF: Row(0, "0", "the guest powered off"),
    Kind.LEFT: Row(0, "0", "the user left the console with Ctrl-]"),
    Kind.RESET: Row(4, "4", "the guest reset the machine (under --no-reboot)"),
    Kind.TRIPLE_FAULT: Row(6, "6", "triple fault: the guest's processor shut down"),
    Kind.HALTED: Row(8, "8", "halted for ever: HLT with interrupts off and nothing to wake it"),
    Kind.FAILED: Row(10, "10", "the engine or the host could not go on"),
    Kind.DEBUG_EXIT: Row(None, "2v+1", "the guest wrote v to the isa-debug-exit port (low 8 bits)"),
    Kind.KILLED: Row(None, "128+n", "signal n ended the run: ringfence dies of it after cleaning up"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a machine ended.

    Attributes:
        kind: which ending.
        value: the value written to isa-debug-exit, or the number of the killing signal.
        detail: more for a human to read: registers after a triple fault, what the engine said.
    """

    kind: Kind
    value: int = 0
    detail: str = ""

    @property
    def exit_status(self) -> int:
        """The process's exit status for this ending; see the README's table."""
        status = TABLE[self.kind].status
        if status is not None:
            return status
        if self.kind is Kind.DEBUG_EXIT:
            return (self.value << 1 | 1) & 0xFF
        return 128 + self.value

    def __str__(self) -> str:
        text = TABLE[self.kind].meaning
        if self.kind is Kind.DEBUG_EXIT:
            text = f"the guest wrote {self.value:#x} to the isa-debug-exit port"
        elif self.kind is Kind.KILLED and self.value:
            text = f"ended by signal {self.value}"
        elif self.kind is Kind.KILLED:
            text = "stopped from outside"
        return text


def status_lines() -> list[str]:
    """The table as `--help` and the README show it, one line a status."""
    rows = [(row.written, row.meaning) for row in TABLE.values()]
    rows.insert(2, (str(USER_ERROR_STATUS), "the command line or an input file can't be used"))
    rows.append((str(BUG_STATUS), "a bug in ringfence: please report the traceback"))
    return [f"{written:>6}  {meaning}" for written, meaning in rows]
