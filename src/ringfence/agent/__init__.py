"""The guest agent: a small program in the guest, and the protocol that it speaks (docs/design/agent.md)."""

from __future__ import annotations

from pathlib import Path

from ringfence.errors import HostError

_FOLDER = Path(__file__).parent / "guest"
#: Built by setup.py from the C files beside them, by the architecture of the guest.
PROGRAMS = {"amd64": _FOLDER / "ringfence-agent", "i386": _FOLDER / "ringfence-agent-i386"}
#: The port that the agent looks for.
PORT_NAME = "org.ringfence.agent.0"


def guest_program(arch: str = "amd64") -> bytes:
    """The agent as an executable file for a guest: static, with no library.

    Raises:
        HostError: this Ringfence was not built.
    """
    try:
        return PROGRAMS[arch].read_bytes()
    except FileNotFoundError as error:
        raise HostError("the guest's agent is not built: run python -m ringfence.agent.build") from error
