"""The vCPU loop: the only caller of `run`, and the only place where an exit meets a device.

A vCPU thread is this machine:

            +-----------------------------------------------+
            v                                               |
    guest (no lock, no GIL) --exit--> answer it, run posted work and due alarms,
            ^                         offer the 8259's interrupt     (under control.lock)
            |                                |
            |                                +-- halted and nothing happened --> asleep
            +-- kick, alarm, posted work <----------------------------------------+
            +-- paused or ended: parked in `Control`, or gone

The 8259 protocol (Intel SDM vol. 3, 11.8 and "virtual wire"): its vector is acknowledged only at
an instruction boundary where the processor takes it; until then the vCPU is asked for a window.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ringfence.core.exits import Reason
from ringfence.devices.bus import Bus
from ringfence.devices.clock import Clock
from ringfence.metrics import VcpuMetrics
from ringfence.units import NS_PER_S
from ringfence.vmm import crash
from ringfence.vmm.control import Control
from ringfence.vmm.outcome import Kind, Outcome
from ringfence.vmm.vcpu import Parts, Vcpu

RFLAGS_IF = 1 << 9
#: What KVM answers to a hypercall it does not know, as the guest's 64-bit rax (KVM_ENOSYS = 1000).
HYPERCALL_ENOSYS = (1 << 64) - 1000


class VcpuLoop:
    """Runs one vCPU on the calling thread until the VM's run ends."""

    def __init__(self, vcpu: Vcpu, parts: Parts, control: Control, metrics: VcpuMetrics) -> None:
        self.vcpu = vcpu
        self.metrics = metrics
        #: halted with interrupts off: only another vCPU can bring it back
        self.is_stuck = False
        #: halted, until an alarm or an interrupt
        self.is_asleep = False
        self._parts = parts
        self._control = control
        self._clock: Clock = parts.clock
        self._woken = threading.Event()
        #: alarms and posted work are run by one loop
        self._is_boot = vcpu.index == 0
        handlers: dict[Reason, Callable[[], bool]] = {
            Reason.IO: self._io,
            Reason.MMIO: self._mmio,
            Reason.HLT: self._hlt,
            Reason.EOI: self._eoi,
            Reason.SHUTDOWN: self._shutdown,
            Reason.FAIL: self._fail,
            Reason.HYPERCALL: self._hypercall,
            Reason.FERR: self._ferr,
        }
        # INTERRUPTED, IRQ_WINDOW and DEBUG need nothing but the service that follows every exit; an
        # IPI to other processors has no addressee.
        self._handlers = [handlers.get(reason, self._nothing) for reason in Reason]

    def wake(self) -> None:
        """Make the vCPU leave the guest, or its sleep, soon. Any thread."""
        self._woken.set()
        self.vcpu.kick()

    def run(self) -> None:
        """Run guest code and answer its exits until the run ends."""
        control = self._control
        try:
            going = control.enter()
            while going:
                # The clock stood still while the VM was paused: the TSC must follow it.
                self.vcpu.set_clock_offset_ns(self._clock.offset_ns)
                with control.lock:
                    self._service()
                while not control.is_interrupted:
                    self._turn()
                going = control.park()
        finally:
            control.leave()

    def _turn(self) -> None:
        metrics = self.metrics
        entered = time.perf_counter_ns()
        reason = self.vcpu.run()
        left = time.perf_counter_ns()
        metrics.guest_ns += left - entered
        metrics.exits[reason] += 1
        with self._control.lock:
            is_idle = self._handlers[reason]()
            did_work = self._service()
        done = time.perf_counter_ns()
        metrics.vmm_ns += done - left
        metrics.exit_ns[reason] += done - left
        if is_idle and not did_work and not self._control.is_interrupted:
            self._sleep()
            metrics.idle_ns += time.perf_counter_ns() - done

    def _service(self) -> bool:
        """What is due between two stretches of guest code; whether it may have woken the vCPU."""
        did_work = False
        if self._is_boot:
            did_work = self._control.run_posted()
            deadline = self._clock.next_deadline_ns()
            if deadline is not None and deadline <= self._clock.now_ns():
                self._clock.run_due()
                did_work = True
                deadline = self._clock.next_deadline_ns()
            self.vcpu.set_deadline_ns(deadline or 0)
        return self._offer_extint() or did_work

    def _offer_extint(self) -> bool:
        """Bring the 8259's interrupt to the processor; whether it was taken."""
        pic, vcpu = self._parts.pic, self.vcpu
        if not self._is_boot or not pic.has_interrupt or not vcpu.lapic.accepts_extint:
            return False
        if vcpu.is_interruptible:
            vcpu.inject(pic.acknowledge())
            return True
        vcpu.request_window = True
        return False

    def _sleep(self) -> None:
        """Wait for the next alarm, the local APIC's timer, or `wake`."""
        deadlines = [self._clock.next_deadline_ns()] if self._is_boot else []
        deadlines.append(self.vcpu.lapic.deadline_ns or None)
        known = [deadline for deadline in deadlines if deadline is not None]
        seconds = max(0, min(known) - self._clock.now_ns()) / NS_PER_S if known else None
        self.is_asleep = True
        self._woken.wait(seconds)
        self.is_asleep = False
        self._woken.clear()
        self.is_stuck = False

    # -- what an exit asks for; True: the vCPU has nothing to do --

    def _nothing(self) -> bool:
        return False

    def _io(self) -> bool:
        self._access(self._parts.pio)
        return False

    def _mmio(self) -> bool:
        self._access(self._parts.mmio)
        return False

    def _access(self, bus: Bus) -> None:
        exit = self.vcpu.exit
        if exit.is_write:
            bus.write(exit.address, exit.size, exit.data)
        else:
            exit.data = bus.read(exit.address, exit.size)

    def _hlt(self) -> bool:
        self.is_stuck = not self.vcpu.regs.rflags & RFLAGS_IF and not self._may_nmi()
        if self.is_stuck and self._control.all_stuck():
            self._control.end(Outcome(Kind.HALTED, detail=crash.describe(self.vcpu)))
        return True

    def _may_nmi(self) -> bool:
        return self.vcpu.lapic.may_nmi or self._parts.ioapic.may_nmi

    def _eoi(self) -> bool:
        self._parts.ioapic.eoi(self.vcpu.exit.data)
        return False

    def _shutdown(self) -> bool:
        self._control.end(Outcome(Kind.TRIPLE_FAULT, detail=crash.describe(self.vcpu)))
        return False

    def _fail(self) -> bool:
        self._control.end(Outcome(Kind.FAILED, self.vcpu.exit.data, crash.describe(self.vcpu)))
        return False

    def _ferr(self) -> bool:
        self._parts.coprocessor.assert_error()
        return False

    def _hypercall(self) -> bool:
        self.vcpu.regs.rax = HYPERCALL_ENOSYS
        return False
