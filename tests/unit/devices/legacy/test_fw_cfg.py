"""fw_cfg: the data port, the directory, and DMA whose descriptor the guest writes."""

from __future__ import annotations

import struct

import pytest

from ringfence.devices.legacy.fw_cfg import FwCfg
from ringfence.errors import BadAddress

RAM = 1 << 18
SELECTOR, DATA, DMA = 0, 1, 4
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16


class Ram:
    """RAM from address 0 on."""

    def __init__(self) -> None:
        self.bytes = bytearray(b"\xcc" * RAM)

    def contains(self, gpa: int, n: int) -> bool:
        return gpa + n <= RAM

    def view(self, gpa: int, n: int) -> memoryview:
        if not self.contains(gpa, n):
            raise BadAddress(hex(gpa))
        return memoryview(self.bytes)[gpa : gpa + n]

    def read(self, gpa: int, n: int) -> bytes:
        return bytes(self.view(gpa, n))

    def write(self, gpa: int, data: bytes) -> None:
        self.view(gpa, len(data))[:] = data

    def dirtied(self, gpa: int, n: int) -> None: ...


class Guest:
    def __init__(self) -> None:
        self.ram = Ram()
        self.device = FwCfg(self.ram)

    def item(self, key: int, size: int) -> bytes:
        self.device.write(SELECTOR, 2, key)
        return bytes(self.device.read(DATA, 1) for _ in range(size))

    def dma(self, control: int, length: int = 0, target: int = 0, at: int = 0x100) -> int:
        """Run a descriptor; what its control word says afterwards."""
        self.ram.write(at, struct.pack(">IIQ", control, length, target))
        self.device.write(DMA, 4, int.from_bytes(struct.pack(">I", at >> 32), "little"))
        self.device.write(DMA + 4, 4, int.from_bytes(struct.pack(">I", at & 0xFFFF_FFFF), "little"))
        (after,) = struct.unpack(">I", self.ram.read(at, 4))
        assert isinstance(after, int)
        return after


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_signature_and_features(guest: Guest) -> None:
    assert guest.item(0, 4) == b"QEMU"
    assert guest.item(1, 4) == b"\x03\0\0\0"
    assert guest.device.read(DMA, 4).to_bytes(4, "little") == b"QEMU"
    assert guest.device.read(DMA + 4, 4).to_bytes(4, "little") == b" CFG"
    assert guest.device.read(DMA, 8).to_bytes(8, "little") == b"QEMU CFG"


def test_reading_beyond_the_end_gives_zeros(guest: Guest) -> None:
    assert guest.item(0, 6) == b"QEMU\0\0"
    assert guest.item(0x7777, 2) == b"\0\0"


def test_the_machine_s_numbers(guest: Guest) -> None:
    guest.device.set_machine(512 << 20, 2)
    assert guest.item(3, 8) == (512 << 20).to_bytes(8, "little")
    assert guest.item(5, 2) == guest.item(0x0F, 2) == b"\x02\0"


def test_files_are_listed(guest: Guest) -> None:
    assert guest.item(0x19, 4) == bytes(4)
    guest.device.add_file("etc/one", b"first")
    guest.device.add_file("opt/two", b"2nd")
    directory = guest.item(0x19, 4 + 2 * 64)
    assert directory[:4] == b"\0\0\0\x02"
    for index, (name, data) in enumerate(((b"etc/one", b"first"), (b"opt/two", b"2nd"))):
        size, key, _, found = struct.unpack_from(">IHH56s", directory, 4 + 64 * index)
        assert (size, key, found.rstrip(b"\0")) == (len(data), 0x20 + index, name)
        assert guest.item(key, size) == data


@pytest.mark.parametrize("name", ["x" * 56, "etc/one"])
def test_bad_names_are_refused(guest: Guest, name: str) -> None:
    guest.device.add_file("etc/one", b"")
    with pytest.raises(ValueError, match="can't offer"):
        guest.device.add_file(name, b"")


def test_dma_reads_an_item(guest: Guest) -> None:
    guest.device.add_file("f", b"0123456789")
    assert guest.dma(0x20 << 16 | SELECT | READ, 4, 0x1000) == 0
    assert guest.ram.read(0x1000, 5) == b"0123\xcc"
    assert guest.dma(SKIP, 3) == 0
    assert guest.dma(READ, 8, 0x1000) == 0
    assert guest.ram.read(0x1000, 9) == b"789" + bytes(5) + b"\xcc"


def test_a_long_dma_fills_with_zeros(guest: Guest) -> None:
    assert guest.dma(SELECT | READ, 0x30000, 0x1000) == 0
    assert guest.ram.read(0x1000, 0x30001) == b"QEMU" + bytes(0x2FFFC) + b"\xcc"


def test_dma_above_4g_is_addressed_by_both_halves(guest: Guest) -> None:
    guest.device.write(DMA, 4, 0x0100_0000)
    guest.device.write(DMA + 4, 4, 0)
    assert guest.device.errors == 1
    assert guest.dma(SELECT | READ, 4, 0x1000) == 0, "the high half does not stay"


def test_what_can_not_be_done_is_an_error(guest: Guest) -> None:
    assert guest.dma(SELECT | READ, 4, RAM - 2) == ERROR
    assert guest.dma(SELECT | READ, 0xFFFF_FFFF, 0) == ERROR
    assert guest.dma(SELECT | READ, 1, (1 << 64) - 1) == ERROR
    assert guest.dma(SELECT | WRITE, 4, 0x1000) == ERROR
    assert guest.device.errors == 4
    assert guest.ram.read(RAM - 2, 2) == b"\xcc\xcc"


def test_a_bad_descriptor_is_counted(guest: Guest) -> None:
    guest.device.write(DMA + 4, 4, 0xFFFF_FFFF)
    guest.device.write(DMA, 8, (1 << 64) - 1)
    assert guest.device.errors == 2


def test_the_selector_takes_words_only(guest: Guest) -> None:
    guest.item(0, 1)
    guest.device.write(SELECTOR, 1, 1)
    guest.device.write(DATA, 1, 0x55)
    assert guest.device.read(DATA, 1) == ord("E")


def test_save_and_restore(guest: Guest) -> None:
    guest.item(0, 2)
    guest.device.write(DMA, 4, 0x1234)
    other = FwCfg(guest.ram)
    other.restore(guest.device.save())
    assert other.save() == guest.device.save()
    assert other.read(DATA, 1) == ord("M")
    other.reset()
    assert other.selector == 0
