"""The PC: all parts of a machine, put together as its configuration says.

A board is switched on once. A guest's reset is a new board, with the kernel loaded again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ringfence.api.config import MachineConfig
from ringfence.board import bios_data, firmware, ports
from ringfence.board import memory_map as mm
from ringfence.board.acpi.tables import RSDP_ADDRESS
from ringfence.board.debug_log import DebugLog
from ringfence.board.entry import Entry
from ringfence.board.interrupts import Interrupts
from ringfence.board.kernel import BootFiles, load_kernel
from ringfence.board.kernel_file import read_image
from ringfence.board.memory_map import MemoryMap
from ringfence.board.pci_bus import PciBus, share_tag
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu
from ringfence.devices.bus import Bus
from ringfence.devices.clock import Clock
from ringfence.devices.device import Device
from ringfence.devices.irq import Line
from ringfence.devices.legacy.acpi_pm import AcpiPm
from ringfence.devices.legacy.coprocessor import Coprocessor
from ringfence.devices.legacy.debug import DebugConsole, DebugExit, PostPort
from ringfence.devices.legacy.fw_cfg import FwCfg
from ringfence.devices.legacy.hpet import Hpet
from ringfence.devices.legacy.i8042 import I8042
from ringfence.devices.legacy.pit import Pit
from ringfence.devices.legacy.reset_control import FastA20, ResetControl
from ringfence.devices.legacy.rtc import Rtc
from ringfence.devices.legacy.test_device import (
    WINDOW_BASE,
    WINDOW_BYTES,
    TestLatch,
    TestLines,
    TestWindow,
)
from ringfence.devices.legacy.uart import Uart
from ringfence.devices.legacy.vga_text import VgaText
from ringfence.network.plug import Plug

#: Calls something soon on the vCPU's thread.
Post = Callable[[Callable[[], None]], None]

_PORTS = 1 << 16
_PHYSICAL_BITS = 52
#: with `MachineConfig.patch`: call-outs of a sensitive instruction until it is patched
_PATCH_AFTER = 16
_LAPIC_SVR, _LAPIC_LINT0, _LAPIC_LINT1 = 0x0F0, 0x350, 0x360
_SVR_ENABLED, _LVT_EXTINT, _LVT_NMI = 0x1FF, 0x700, 0x400
#: The PC's 18.2 Hz: counter 0, both bytes, mode 3, a count of 65536.
_TIMER_TICK = ((3, 0x36), (0, 0), (0, 0))


class Board:
    """A machine at power-on: a kernel is loaded, its first instruction comes next.

    Attributes:
        on_shutdown: called with ("power_off" | "reset" | "debug_exit", value) when the guest asks for it.
        uart: the serial console; its ``output`` is what takes the guest's characters.

    Raises:
        UserError: the configuration names something that can't be used.
        HostError: the host refuses memory or a file.
    """

    def __init__(self, config: MachineConfig, post: Post, network: Plug | None = None) -> None:
        self.config = config
        self.on_shutdown: Callable[[str, int], object] = _ignore
        self.map = MemoryMap(config.memory_bytes)
        self.memory = GuestMemory()
        self.clock = Clock()
        self.pio = Bus("pio", _PORTS)
        self.mmio = Bus("mmio", 1 << _PHYSICAL_BITS)
        #: every device by name
        self.devices: dict[str, Device] = {}
        entry = self._fill_memory()
        self.vcpus = [Vcpu(0, self.memory, config.cpu, config.engine)]  # type: ignore[call-arg]  # its signature is in C
        if config.patch:
            self.vcpus[0].patch_after = _PATCH_AFTER
        self.interrupts = Interrupts(self.vcpus)
        self.pic = self.interrupts.pic
        self.ioapic = self.interrupts.ioapic
        self._add_timers()
        self._add_legacy()
        self.pci = PciBus(config, self.memory, self.mmio, self.pio, self.interrupts, post, network)
        try:
            self._plug(self.pci.config_ports(ResetControl(self._reset)), ports.PCI_CONFIG)
            self._plug_memory(self.pci.ecam, mm.ECAM_BASE, mm.ECAM_BYTES)
            if config.firmware is None:
                self._do_firmwares_work()
        except BaseException:
            self.close()
            raise
        for vcpu in self.vcpus:
            entry.apply(vcpu)

    def irq(self, gsi: int) -> Line:
        """The line of a global system interrupt."""
        return self.interrupts.irq(gsi)

    def metrics(self) -> dict[str, dict[str, int]]:
        """What each device counts, by its name. Any thread."""
        return self.pci.metrics()

    def close(self) -> None:
        """Give back the disks and shares."""
        self.pci.close()

    # -- what is in memory --

    def _fill_memory(self) -> Entry:
        if self.config.firmware is not None:
            return self._load_firmware(Path(self.config.firmware))
        assert self.config.kernel is not None
        self.memory.add_ram(0, self.map.low_end)
        self._add_high_ram()
        bios_data.write(self.memory, self.map, self.config.cpu, cpu_count=1)
        files = BootFiles(
            kernel=Path(self.config.kernel),
            initrd=None if self.config.initrd is None else Path(self.config.initrd),
            append=self._command_line(),
            raw_at=self.config.raw_at,
        )
        return load_kernel(self.memory, self.map, files, RSDP_ADDRESS)

    def _command_line(self) -> str:
        """The user's, and for the guest's init what it is to mount."""
        words = [self.config.append] if self.config.append else []
        for number, share in enumerate(self.config.share_configs):
            options = ":ro" if share.is_read_only else ""
            words.append(f"ringfence.mount={share_tag(number)}:{share.guest_path}{options}")
        return " ".join(words)

    def _load_firmware(self, path: Path) -> Entry:
        rom = read_image(path, "firmware", firmware.SIZE_MAX_BYTES)
        self.memory.add_ram(0, mm.BIOS_BASE)
        self.memory.add_ram(mm.HIGH_BASE, self.map.low_end - mm.HIGH_BASE)
        self._add_high_ram()
        return firmware.load(self.memory, rom, str(path))

    def _add_high_ram(self) -> None:
        if self.map.high_bytes:
            self.memory.add_ram(mm.BELOW_4G_END, self.map.high_bytes)

    # -- what is on the buses --

    def _plug(self, device: Device, ranges: tuple[ports.PortRange, ...]) -> None:
        self.devices[device.name] = device
        for base, size, offset in ranges:
            self.pio.map(base, size, device, offset)

    def _plug_memory(self, device: Device, base: int, size: int) -> None:
        self.devices[device.name] = device
        self.mmio.map(base, size, device)

    def _add_timers(self) -> None:
        """The HPET sits between the older timers and their wires, which it can take over."""
        clock = self.clock
        hpet = Hpet(clock, self.interrupts.free_pins, self.irq(ports.IRQ_TIMER), self.irq(ports.IRQ_RTC))
        self.rtc = Rtc(clock, hpet.rtc_line)
        self.rtc.set_memory_size(self.map.low_end, self.map.high_bytes)
        self.rtc.set_cpu_count(len(self.vcpus))
        self.acpi_pm = AcpiPm(clock, self.irq(ports.IRQ_SCI), self._power_off)
        self._plug_memory(hpet, mm.HPET_BASE, mm.HPET_BYTES)
        self._plug(Pit(clock, hpet.pit_line), ports.PIT)
        self._plug(self.rtc, ports.RTC)
        self._plug(self.acpi_pm, ports.ACPI_PM)

    def _add_legacy(self) -> None:
        debug = DebugLog()
        self.uart = Uart(self.irq(ports.IRQ_COM1), _discard)
        i8042 = I8042(self.irq(ports.IRQ_KEYBOARD), self.irq(ports.IRQ_MOUSE), self._reset)
        self.keyboard = i8042.keyboard
        self.fw_cfg = FwCfg(self.memory)
        self.fw_cfg.set_machine(self.config.memory_bytes, len(self.vcpus))
        self._plug(self.pic, ports.PIC)
        self._plug_memory(self.ioapic, mm.IOAPIC_BASE, mm.IOAPIC_BYTES)
        self._plug(self.uart, ports.COM1)
        self._plug(i8042, ports.I8042)
        self._plug(VgaText(), ports.VGA_TEXT)
        self._plug(PostPort(), ports.POST)
        self.coprocessor = Coprocessor(self.irq(ports.IRQ_COPROCESSOR))
        self._plug(self.coprocessor, ports.COPROCESSOR)
        self._plug(FastA20(self._reset), ports.FAST_A20)
        self._plug(self.fw_cfg, ports.FW_CFG)
        self._plug(DebugConsole(debug.write, 0xE9, "firmware-console"), ports.FIRMWARE_CONSOLE)
        if self.config.test_device:
            self._add_test_device()
        else:
            self._plug(DebugConsole(debug.write), ports.DEBUG_CONSOLE)
        if self.config.debug_exit is not None:
            exit_port = ports.PortRange(self.config.debug_exit, 4)
            self._plug(DebugExit(self._debug_exit), (exit_port,))

    def _add_test_device(self) -> None:
        """It takes the debug console's port for its own."""
        lines = [self.irq(gsi) for gsi in range(ports.TEST_LINES[0].size)]
        self._plug(TestLatch(), ports.TEST_LATCH)
        self._plug(TestLines(lines), ports.TEST_LINES)
        self._plug_memory(TestWindow(), WINDOW_BASE, WINDOW_BYTES)

    def _do_firmwares_work(self) -> None:
        """What a kernel expects to find set up: PCI addresses, the timer's tick, the 8259 wired through."""
        self.pci.assign()
        self.interrupts.initialize_pics()
        for offset, value in _TIMER_TICK:
            self.devices["pit"].write(offset, 1, value)
        for vcpu in self.vcpus:
            vcpu.lapic.write(_LAPIC_SVR, _SVR_ENABLED, 0)
            vcpu.lapic.write(_LAPIC_LINT0, _LVT_EXTINT, 0)
            vcpu.lapic.write(_LAPIC_LINT1, _LVT_NMI, 0)

    # -- what the guest asks for --

    def _power_off(self) -> None:
        self.on_shutdown("power_off", 0)

    def _reset(self) -> None:
        self.on_shutdown("reset", 0)

    def _debug_exit(self, value: int) -> None:
        self.on_shutdown("debug_exit", value)


def _ignore(kind: str, value: int) -> None:
    """Nobody wants to know."""


def _discard(data: bytes) -> None:
    """Nobody listens."""
