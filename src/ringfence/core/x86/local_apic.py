"""The Python view of a local APIC: what the VMM, the I/O APIC and tests do with one."""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.x86.lapic import (
    Lapic,
    LapicP,
    lapic_deadline_ns,
    lapic_get_cr8,
    lapic_pending,
    lapic_rdmsr,
    lapic_read,
    lapic_reset,
    lapic_run_timer,
    lapic_set_cr8,
    lapic_set_tsc_offset,
    lapic_write,
    lapic_wrmsr,
)
from cython.cimports.ringfence.core.x86.lapic_delivery import (
    lapic_accept,
    lapic_accepts_extint,
    lapic_acknowledge,
    lapic_deliver,
    lapic_eoi,
    lapic_matches,
    lapic_may_nmi,
    lapic_set_lint,
)


@cython.cclass
class LocalApic:
    """A processor's local APIC. ``now_ns`` is guest time."""

    def __cinit__(self) -> None:
        self.apic = cython.address(self.own)
        lapic_reset(self.apic, 0)

    def reset(self, id: int) -> None:
        lapic_reset(self.apic, id)

    def read(self, offset: int, now_ns: int) -> int:
        """A register of the xAPIC page."""
        return lapic_read(self.apic, offset, now_ns)

    def write(self, offset: int, value: int, now_ns: int) -> bool:
        """True: the command now in `icr` is for other processors too."""
        return lapic_write(self.apic, offset, value, now_ns)

    def rdmsr(self, msr: int, now_ns: int) -> int | None:
        """None: #GP."""
        value: uint64_t = 0
        if not lapic_rdmsr(self.apic, msr, cython.address(value), now_ns):
            return None
        return value

    def wrmsr(self, msr: int, value: int, now_ns: int) -> int:
        """0 done; 1 #GP; 2 done, and `icr` is for other processors too."""
        return lapic_wrmsr(self.apic, msr, value, now_ns)

    def accept(self, vector: int, is_level: bool = False) -> None:
        lapic_accept(self.apic, vector, is_level)

    def deliver(self, delivery_mode: int, vector: int, is_level: bool = False) -> None:
        """A message that `matches` this processor."""
        lapic_deliver(self.apic, delivery_mode, vector, is_level)

    def matches(self, destination: int, is_logical: bool) -> bool:
        return lapic_matches(self.apic, destination, is_logical)

    def pending(self) -> int:
        """The vector that may interrupt now, or -1."""
        return lapic_pending(self.apic)

    def acknowledge(self) -> int:
        return lapic_acknowledge(self.apic)

    def eoi(self) -> None:
        lapic_eoi(self.apic)

    def take_eoi(self) -> int:
        """The level-triggered vector that was ended and is to be told to the I/O APIC, or -1."""
        vector = self.apic.eoi_vector
        self.apic.eoi_vector = -1
        return vector

    def run_timer(self, now_ns: int) -> None:
        lapic_run_timer(self.apic, now_ns)

    def set_lint(self, pin: int, level: bool) -> None:
        lapic_set_lint(self.apic, pin, level)

    def set_tsc_offset(self, tsc_offset: int) -> None:
        lapic_set_tsc_offset(self.apic, tsc_offset)

    @property
    def accepts_extint(self) -> bool:
        """An 8259 may interrupt this processor: LINT0 is ExtINT and unmasked, or the APIC is off."""
        return lapic_accepts_extint(self.apic)

    @property
    def may_nmi(self) -> bool:
        """Some local vector is unmasked and delivers an NMI."""
        return lapic_may_nmi(self.apic)

    @property
    def deadline_ns(self) -> int:
        """Guest time at which its timer fires; 0 when it is not armed."""
        return lapic_deadline_ns(self.apic)

    @property
    def cr8(self) -> int:
        return lapic_get_cr8(self.apic)

    @cr8.setter
    def cr8(self, value: int) -> None:
        lapic_set_cr8(self.apic, value)

    @property
    def id(self) -> int:
        return self.apic.id

    @property
    def icr(self) -> int:
        return self.apic.icr

    @property
    def base_msr(self) -> int:
        return self.apic.base_msr

    @property
    def signals(self) -> dict[str, int]:
        """What was delivered beside vectors: ``nmi``, ``init``, ``sipi`` (its vector, or -1)."""
        return {
            "nmi": self.apic.nmi_pending,
            "init": self.apic.init_pending,
            "sipi": self.apic.sipi_vector if self.apic.sipi_pending else -1,
        }

    def save(self) -> bytes:
        return cython.cast(cython.pointer(cython.char), self.apic)[: cython.sizeof(Lapic)]

    def restore(self, record: bytes) -> None:
        """Raises ValueError: not a local APIC's record."""
        if len(record) != cython.sizeof(Lapic):
            raise ValueError(f"a local APIC's record has {cython.sizeof(Lapic)} bytes, not {len(record)}")
        # SAFETY: the length was just compared
        memcpy(self.apic, cython.cast(cython.pointer(cython.char), record), cython.sizeof(Lapic))


@cython.cfunc
def wrap_lapic(apic: LapicP, owner: object) -> LocalApic:
    """A view of the local APIC inside ``owner``."""
    view: LocalApic = LocalApic()
    view.apic = apic
    view.owner = owner
    return view
