"""A scripted vCPU: each step of the script is what one `run` does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ringfence.core.exits import Reason
from ringfence.devices.bus import Bus
from ringfence.devices.clock import Clock
from ringfence.vmm.loop import RFLAGS_IF

REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "cr0", "cr2", "cr3", "cr4", "efer")

Step = Callable[["FakeVcpu"], Reason]


@dataclass
class FakeExit:
    address: int = 0
    size: int = 0
    is_write: bool = False
    data: int = 0


@dataclass
class FakeLapic:
    accepts_extint: bool = True
    deadline_ns: int = 0
    may_nmi: bool = False


class FakeVcpu:
    """Runs `steps` in order; after the last one it spins in the guest until kicked."""

    def __init__(self, steps: Iterable[Step] = (), index: int = 0) -> None:
        self.index = index
        self.steps = list(steps)
        self.regs = SimpleNamespace(
            **{f"r{n}": 0 for n in range(8, 16)},
            **dict.fromkeys(REGISTERS, 0),
            rip=0xFFF0,
            rflags=RFLAGS_IF | 2,
        )
        self.exit = FakeExit()
        self.lapic = FakeLapic()
        self.is_interruptible = True
        self.request_window = False
        self.injected: list[int] = []
        self.deadlines: list[int] = []
        self.clock_offsets: list[int] = []
        self.runs = 0
        self.gdtr = self.idtr = (0, 0xFFFF)
        self._kicked = threading.Event()

    def run(self) -> int:
        self.runs += 1
        if self.steps:
            return self.steps.pop(0)(self)
        assert self._kicked.wait(10), "nobody kicked a spinning guest"
        self._kicked.clear()
        return Reason.INTERRUPTED

    def kick(self) -> None:
        self._kicked.set()

    def set_deadline_ns(self, deadline_ns: int) -> None:
        self.deadlines.append(deadline_ns)

    def set_clock_offset_ns(self, offset_ns: int) -> None:
        self.clock_offsets.append(offset_ns)

    def inject(self, vector: int) -> None:
        assert self.is_interruptible, "injected where no interrupt can be taken"
        self.injected.append(vector)

    def counters(self) -> dict[str, Any]:
        return {"instructions": 10 * self.runs, "tlb_misses": self.runs, "interrupts": {0x20: 1}}

    def segment(self, name: str) -> tuple[int, int, int, int]:
        return (0xF000, 0xFFFF0000, 0xFFFF, 0x9B) if name == "cs" else (0, 0, 0xFFFF, 0x93)

    def recent_blocks(self) -> list[int]:
        return [0xFFF0]

    def peek(self, la: int, n: int) -> bytes:
        return b"\xfa\xf4" if la == 0xFFFF_FFF0 else b""


@dataclass
class FakePic:
    vectors: list[int] = field(default_factory=list)

    @property
    def has_interrupt(self) -> bool:
        return bool(self.vectors)

    def acknowledge(self) -> int:
        return self.vectors.pop(0)


@dataclass
class FakeIoApic:
    ended: list[int] = field(default_factory=list)
    may_nmi: bool = False

    def eoi(self, vector: int) -> None:
        self.ended.append(vector)


@dataclass
class FakeCoprocessor:
    errors: int = 0

    def assert_error(self) -> None:
        self.errors += 1


class FakeBoard:
    def __init__(self, *vcpus: FakeVcpu) -> None:
        self.vcpus = list(vcpus)
        self.pio = Bus("pio", 1 << 16)
        self.mmio = Bus("mmio", 1 << 52)
        self.clock = Clock()
        self.pic = FakePic()
        self.ioapic = FakeIoApic()
        self.coprocessor = FakeCoprocessor()
        self.devices: dict[str, dict[str, int]] = {}

    def metrics(self) -> dict[str, dict[str, int]]:
        return self.devices


def io(port: int, *, write: int | None = None, size: int = 1) -> Step:
    """A step: a port access of the guest."""

    def step(vcpu: FakeVcpu) -> Reason:
        vcpu.exit = FakeExit(port, size, write is not None, write or 0)
        return Reason.IO

    return step


def reason(value: Reason, **exit_fields: Any) -> Step:
    """A step: `run` returns this, with these fields in the exit record."""

    def step(vcpu: FakeVcpu) -> Reason:
        vcpu.exit = FakeExit(**exit_fields)
        return value

    return step


def halt(is_if: bool = True) -> Step:
    """A step: HLT, with interrupts on or off."""

    def step(vcpu: FakeVcpu) -> Reason:
        vcpu.regs.rflags = RFLAGS_IF | 2 if is_if else 2
        return Reason.HLT

    return step
