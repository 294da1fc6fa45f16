"""What a vCPU's thread did: its exits by reason, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass, field

NS_PER_US = 1_000


@dataclass(slots=True)
class VcpuMetrics:
    """Counted by one vCPU loop; survives the guest's reboots."""

    #: how often guest execution stopped, by the reason's number
    exits: list[int] = field(default_factory=lambda: [0] * 16)
    #: host time in answering them, by the reason's number
    exit_ns: list[int] = field(default_factory=lambda: [0] * 16)
    guest_ns: int = 0
    #: answering exits, running alarms and posted work
    vmm_ns: int = 0
    #: halted with nothing to do
    idle_ns: int = 0

    def mips(self, instructions: int) -> float:
        """Million guest instructions a second of guest time."""
        return round(instructions * NS_PER_US / self.guest_ns, 2) if self.guest_ns else 0.0
