"""The PC's two interrupt controllers: Intel 8259A data sheet; ELCR: 82371SB (PIIX3) data sheet.

A rising edge stays latched until it is acknowledged, even when the line falls before: devices
here pulse their lines without holding them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters, restore_fields, save_fields

ICW1_ICW4, ICW1_SINGLE, ICW1_LEVEL, ICW1 = 0x01, 0x02, 0x08, 0x10
ICW4_AUTO_EOI, ICW4_SFNM = 0x02, 0x10
OCW3, OCW3_POLL = 0x08, 0x04
OCW2_EOI, OCW2_SPECIFIC, OCW2_ROTATE = 0x20, 0x40, 0x80

CASCADE = 2
#: Lines that a PC fixes as edge-triggered: timer, keyboard, cascade; RTC, coprocessor.
ELCR_MASK = (0xF8, 0xDE)
NONE = 8

_STATE = (
    *("irr", "isr", "imr", "elcr", "inputs", "vector_base", "lowest", "init_step", "wants_icw4"),
    *("is_single", "is_level", "is_auto_eoi", "is_rotating_aeoi", "is_special_mask"),
    *("is_nested_special", "is_polling", "reads_isr"),
)


class Pic:
    """One 8259A. ``is_master`` tells which of a PC's two it is."""

    def __init__(self, is_master: bool) -> None:
        self.is_master = is_master
        self.elcr = 0
        self.inputs = 0
        self.reset()

    def reset(self) -> None:
        self.elcr = 0
        self.vector_base = 0
        self.init_step = 0
        self.wants_icw4 = self.is_single = self.is_level = False
        self._initialize()

    def _initialize(self) -> None:
        """What ICW1 does whatever its bits say."""
        self.irr = self.inputs if self.is_level else self.inputs & self.elcr
        self.isr = self.imr = 0
        self.lowest = 7
        self.is_auto_eoi = self.is_rotating_aeoi = self.is_nested_special = False
        self.is_special_mask = self.is_polling = self.reads_isr = False

    def set_line(self, irq: int, level: bool) -> None:
        bit = 1 << irq
        if self.is_level or self.elcr & bit:
            self.irr = self.irr | bit if level else self.irr & ~bit
        elif level and not self.inputs & bit:
            self.irr |= bit
        self.inputs = self.inputs | bit if level else self.inputs & ~bit

    def _priority(self, bits: int) -> int:
        """How far the first of ``bits`` is from the top; NONE without any."""
        top = (self.lowest + 1) & 7
        turned = (bits >> top | bits << (8 - top)) & 0xFF
        return (turned & -turned).bit_length() - 1 if turned else NONE

    def request(self) -> int:
        """The line that may interrupt now, or -1."""
        priority = self._priority(self.irr & ~self.imr)
        if priority == NONE:
            return -1
        served = self.isr
        if self.is_special_mask:
            served &= ~self.imr
        if self.is_nested_special and self.is_master:
            # The slave may interrupt again while it is being served.
            served &= ~(1 << CASCADE)
        if priority >= self._priority(served):
            return -1
        return (priority + self.lowest + 1) & 7

    def acknowledge(self, irq: int) -> None:
        """INTA for ``irq``."""
        bit = 1 << irq
        if self.is_auto_eoi:
            if self.is_rotating_aeoi:
                self.lowest = irq
        else:
            self.isr |= bit
        if not (self.is_level or self.elcr & bit):
            self.irr &= ~bit

    def write_command(self, value: int) -> None:
        if value & ICW1:
            self.wants_icw4 = bool(value & ICW1_ICW4)
            self.is_single = bool(value & ICW1_SINGLE)
            self.is_level = bool(value & ICW1_LEVEL)
            self._initialize()
            self.init_step = 2
        elif value & OCW3:
            if value & OCW3_POLL:
                self.is_polling = True
            elif value & 2:
                self.reads_isr = bool(value & 1)
            if value & 0x40:
                self.is_special_mask = bool(value & 0x20)
        else:
            self._write_ocw2(value)

    def _write_ocw2(self, value: int) -> None:
        rotates = bool(value & OCW2_ROTATE)
        if value & OCW2_EOI:
            if value & OCW2_SPECIFIC:
                irq = value & 7
            else:
                served = self.isr & ~self.imr if self.is_special_mask else self.isr
                priority = self._priority(served)
                if priority == NONE:
                    return
                irq = (priority + self.lowest + 1) & 7
            self.isr &= ~(1 << irq)
            if rotates:
                self.lowest = irq
        elif not value & OCW2_SPECIFIC:
            self.is_rotating_aeoi = rotates
        elif rotates:
            self.lowest = value & 7

    def write_data(self, value: int) -> None:
        if self.init_step == 0:
            self.imr = value
        elif self.init_step == 2:
            self.vector_base = value & 0xF8
            self.init_step = 3 if not self.is_single else 4 if self.wants_icw4 else 0
        elif self.init_step == 3:
            # Which input the slave is on is wired, whatever the guest says here.
            self.init_step = 4 if self.wants_icw4 else 0
        else:
            self.is_auto_eoi = bool(value & ICW4_AUTO_EOI)
            self.is_nested_special = bool(value & ICW4_SFNM)
            self.init_step = 0

    def set_elcr(self, value: int) -> None:
        """Choose the level-triggered lines; their requests follow the lines at once."""
        self.elcr = value & ELCR_MASK[not self.is_master]
        self.irr = self.irr & ~self.elcr | self.inputs & self.elcr


class PicPair(ByteRegisters):
    """Master at offsets 0-1 (ports 0x20), slave at 2-3 (0xa0), ELCR at 4-5 (0x4d0).

    ``output`` is the INTR wire to the processor: it changes level when `has_interrupt` does.
    """

    def __init__(self, output: Line | None = None, name: str = "pic") -> None:
        self.name = name
        self.output = output or Line()
        self.master = Pic(is_master=True)
        self.slave = Pic(is_master=False)
        #: one sink for each ISA interrupt 0-15
        self.lines: list[Callable[[bool], None]] = [partial(self._set_line, irq) for irq in range(16)]

    @property
    def has_interrupt(self) -> bool:
        return self.output.level

    def reset(self) -> None:
        self.master.reset()
        self.slave.reset()
        self._update()

    def _set_line(self, irq: int, level: bool) -> None:
        if irq >= 8:
            self.slave.set_line(irq - 8, level)
        elif irq != CASCADE:
            self.master.set_line(irq, level)
        self._update()

    def _update(self) -> None:
        """Carry the slave's output to the master's cascade input, and the master's outside."""
        self.master.set_line(CASCADE, self.slave.request() >= 0)
        self.output.set(self.master.request() >= 0)

    def acknowledge(self) -> int:
        """INTA: the vector. A request that went away in the meantime gives line 7's or 15's."""
        irq = self.master.request()
        if irq < 0:
            vector = self.master.vector_base + 7
        else:
            self.master.acknowledge(irq)
            vector = self._slave_vector() if irq == CASCADE else self.master.vector_base + irq
        self._update()
        return vector

    def _slave_vector(self) -> int:
        irq = self.slave.request()
        if irq < 0:
            return self.slave.vector_base + 7
        self.slave.acknowledge(irq)
        # Acknowledging takes the slave's output down and up: an edge for each request.
        self.master.set_line(CASCADE, False)
        return self.slave.vector_base + irq

    def read_byte(self, offset: int) -> int:
        if offset >= 4:
            return (self.master, self.slave)[offset & 1].elcr
        pic = (self.master, self.slave)[offset >> 1]
        if pic.is_polling:
            return self._poll(pic)
        if offset & 1:
            return pic.imr
        return pic.isr if pic.reads_isr else pic.irr

    def _poll(self, pic: Pic) -> int:
        """A read after the poll command is the acknowledgement."""
        pic.is_polling = False
        irq = pic.request()
        if irq < 0:
            return 0
        pic.acknowledge(irq)
        if not pic.is_master:
            self.master.set_line(CASCADE, False)
        self._update()
        return 0x80 | irq

    def write_byte(self, offset: int, value: int) -> None:
        if offset >= 4:
            (self.master, self.slave)[offset & 1].set_elcr(value)
        else:
            pic = (self.master, self.slave)[offset >> 1]
            if offset & 1:
                pic.write_data(value)
            else:
                pic.write_command(value)
                if value & ICW1 and not pic.is_master:
                    self.master.set_line(CASCADE, False)
        self._update()

    def save(self) -> Record:
        return {"master": save_fields(self.master, _STATE), "slave": save_fields(self.slave, _STATE)}

    def restore(self, record: Record) -> None:
        restore_fields(self.master, record["master"], _STATE)
        restore_fields(self.slave, record["slave"], _STATE)
        self._update()
