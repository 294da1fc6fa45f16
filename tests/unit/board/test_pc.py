"""The whole board, with the compiled core: what is where when the first instruction comes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_machine import bzimage

from ringfence.api.config import MachineConfig
from ringfence.board.pc import Board
from ringfence.core.exits import Reason
from ringfence.errors import DiskBusy, ImageError, UserError
from ringfence.network.plug import plug_in
from ringfence.units import KIB, MIB

MakeBoard = Callable[..., Board]


def _call(work: Callable[[], None]) -> None:
    work()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeBoard]:
    """Builds boards; the kernel is a stand-in unless the test names one."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bzimage())
    boards: list[Board] = []

    def build(**values: object) -> Board:
        if "firmware" not in values:
            values = {"kernel": kernel, "memory": "64M", **values}
        config = MachineConfig(**values)  # type: ignore[arg-type]
        net = config.net_config
        network = None if net is None else plug_in(net, _call)
        boards.append(Board(config, _call, network))
        return boards[-1]

    yield build
    for board in boards:
        board.close()


def test_a_64_bit_kernel_is_about_to_start(make: MakeBoard) -> None:
    board = make()
    regs = board.vcpus[0].regs
    assert (regs.rip, regs.efer & 0x500, regs.cr0 & 0x8000_0001) == (0x100_0200, 0x500, 0x8000_0001)
    assert board.memory.read(0xE0000, 8) == b"RSD PTR "


def test_code_in_real_mode_talks_to_the_serial_port(make: MakeBoard, tmp_path: Path) -> None:
    said = bytearray()
    # mov dx,3f8h; mov al,'!'; out dx,al; hlt
    (tmp_path / "code").write_bytes(bytes.fromhex("ba f803 b021 ee f4"))
    board = make(kernel=tmp_path / "code", raw_at=0x8000)
    board.uart.output = said.extend
    vcpu = board.vcpus[0]
    assert vcpu.run() == Reason.IO
    board.pio.write(vcpu.exit.address, vcpu.exit.size, vcpu.exit.data)
    assert vcpu.run() == Reason.HLT
    assert said == b"!"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ba 0406 b8 0020 ef f4", ("power_off", 0)),  # PM1a control: S5 (0) and sleep enable
        ("ba f90c b006 ee f4", ("reset", 0)),  # the register that the FADT names
        ("b0fe e664 f4", ("reset", 0)),  # the keyboard controller's pulse
        ("b001 e692 f4", ("reset", 0)),
        ("b021 e6f4 f4", ("debug_exit", 0x21)),
    ],
)
def test_ways_to_end(make: MakeBoard, tmp_path: Path, code: str, expected: tuple[str, int]) -> None:
    seen: list[tuple[str, int]] = []
    (tmp_path / "code").write_bytes(bytes.fromhex(code))
    board = make(kernel=tmp_path / "code", raw_at=0x8000, debug_exit=0xF4)
    board.on_shutdown = lambda kind, value: seen.append((kind, value))
    vcpu = board.vcpus[0]
    while vcpu.run() == Reason.IO:
        board.pio.write(vcpu.exit.address, vcpu.exit.size, vcpu.exit.data)
    assert seen == [expected]


def test_firmware_starts_at_the_reset_vector(make: MakeBoard, tmp_path: Path) -> None:
    rom = bytearray(b"\xf4" * 64 * KIB)
    rom[0xFFF0:0xFFF5] = bytes.fromhex("ea 5be0 00f0")  # jmp f000:e05b, as firmware does
    rom[0xE05B:0xE05F] = bytes.fromhex("b055 e680")  # mov al,55h; out 80h,al
    (tmp_path / "rom").write_bytes(rom)
    board = make(firmware=tmp_path / "rom", memory="16M")
    vcpu = board.vcpus[0]
    assert vcpu.run() == Reason.IO
    assert (vcpu.exit.address, vcpu.exit.data & 0xFF) == (0x80, 0x55)
    assert board.memory.read(0xF0000, 64 * KIB) == rom
    assert board.memory.read((1 << 32) - 64 * KIB, 64 * KIB) == rom
    assert not board.memory.contains(0xF0000, 1)  # it is not RAM
    assert board.memory.contains(MIB, 15 * MIB)


def test_pci_functions_are_ready(make: MakeBoard, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(4096))
    board = make(disks=[tmp_path / "disk"], network="loopback")
    ecam = 0xE000_0000
    ids = [board.mmio.read(ecam + (slot << 15), 4) for slot in range(5)]
    assert [value >> 16 for value in ids] == [0x0008, 0x1044, 0x1042, 0x1041, 0xFFFF]
    for slot in (1, 2, 3):
        assert board.mmio.read(ecam + (slot << 15) + 4, 2) & 0b110 == 0b110
        assert board.mmio.read(ecam + (slot << 15) + 0x3C, 1) in (5, 7, 10, 11)
        bar = board.mmio.read(ecam + (slot << 15) + 0x10, 4)
        assert 0xC000_0000 <= bar < 0xE000_0000
        assert board.mmio.find(bar, 4) is not None


def test_a_virtio_console_is_there_when_asked_for(make: MakeBoard) -> None:
    assert make().pci.console is None
    board = make(virtio_console=True)
    assert board.mmio.read(0xE000_0000 + (2 << 15), 4) == 0x1043_1AF4
    said = bytearray()
    board.pci.console_output = said.extend
    assert board.pci.console is not None
    board.pci.console.write_config(8, b"!\0\0\0")  # emergency write: needs no queue
    assert said == b"!"


def test_both_ways_to_configuration_space_agree(make: MakeBoard) -> None:
    board = make()
    board.pio.write(0xCF8, 4, 0x8000_0800)
    assert board.pio.read(0xCFC, 4) == board.mmio.read(0xE000_8000, 4) == 0x1044_1AF4


def test_nobody_claims_the_rest(make: MakeBoard) -> None:
    board = make()
    assert board.pio.read(0x300, 1) == 0xFF
    assert board.mmio.read(0xFE00_0000, 4) == 0xFFFF_FFFF
    assert board.pio.unclaimed[0x300, False] == 1


def test_the_test_device(make: MakeBoard) -> None:
    board = make(test_device=True)
    board.pio.write(0xE0, 4, 0x12345678)
    assert board.pio.read(0xE8, 1) == 0x78
    board.pio.write(0x2000 + 4, 1, 1)
    assert board.irq(4).level
    board.mmio.write(0xFF00_0000, 4, 7)
    assert board.mmio.read(0xFF00_0000, 4) == 7


def test_memory_above_4_gib(make: MakeBoard) -> None:
    board = make(memory="4G")
    assert board.memory.contains(1 << 32, 1 << 30)
    assert not board.memory.contains(0xC000_0000, 1)


def test_a_busy_disk_and_a_failed_board_let_go_of_their_disks(make: MakeBoard, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    board = make(disks=[disk])
    with pytest.raises(DiskBusy):
        make(disks=[disk])
    board.close()
    with pytest.raises(ImageError):
        make(disks=[disk, tmp_path / "missing"])
    make(disks=[disk]).close()


def test_no_such_cpu(make: MakeBoard) -> None:
    with pytest.raises(UserError, match="no CPU model"):
        make(cpu="8080")


def test_a_closed_board_gives_its_memory_back(make: MakeBoard, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    config = MachineConfig(kernel=kernel, memory="64M")
    board = Board(config, post=lambda work: work())
    gone = weakref.ref(board)
    board.close()
    del board
    gc.collect()
    assert gone() is None
