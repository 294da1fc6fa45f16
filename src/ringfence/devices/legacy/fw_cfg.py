"""The firmware configuration device: QEMU's specification "QEMU Firmware Configuration Device".

Named blobs that the VMM hands to firmware and test kernels: read byte by byte through a port,
or copied into guest RAM by a descriptor whose address the guest writes.
"""

from __future__ import annotations

import struct

from ringfence.devices.device import Record
from ringfence.devices.dma import GuestMemory
from ringfence.devices.legacy.registers import restore_fields, save_fields
from ringfence.errors import BadAddress

SELECTOR, DATA, DMA_HIGH, DMA_LOW = 0x00, 0x01, 0x04, 0x08

KEY_SIGNATURE, KEY_FEATURES, KEY_RAM_SIZE, KEY_CPU_COUNT = 0x00, 0x01, 0x03, 0x05
KEY_MAX_CPUS, KEY_DIRECTORY, KEY_FIRST_FILE = 0x0F, 0x19, 0x20
FILES_MAX = 0x4000 - KEY_FIRST_FILE
NAME_BYTES = 56

FEATURES = 1 << 0 | 1 << 1  # the data port and DMA
DMA_SIGNATURE = b"QEMU CFG"
DMA_ERROR, DMA_READ, DMA_SKIP, DMA_SELECT, DMA_WRITE = 1, 2, 4, 8, 16
#: Reading beyond an item's end gives zeros; they are written in pieces of this size.
ZEROS = bytes(1 << 16)

_STATE = ("selector", "position", "dma_address")


class FwCfg:
    """Selector at offset 0, data at 1, DMA address at 4 (ports 0x510 on)."""

    def __init__(self, memory: GuestMemory, name: str = "fw-cfg") -> None:
        self.name = name
        self._memory = memory
        self._files: list[tuple[str, bytes]] = []
        self._items = {KEY_SIGNATURE: b"QEMU", KEY_FEATURES: struct.pack("<I", FEATURES)}
        self._list_files()
        #: DMA requests that could not be done as asked
        self.errors = 0
        self.reset()

    def reset(self) -> None:
        self.selector = self.position = self.dma_address = 0

    def add_item(self, key: int, data: bytes) -> None:
        """Offer ``data`` under one of the keys with a fixed meaning."""
        self._items[key] = data

    def set_machine(self, ram_bytes: int, cpu_count: int) -> None:
        """What test kernels ask for."""
        self.add_item(KEY_RAM_SIZE, struct.pack("<Q", ram_bytes))
        self.add_item(KEY_CPU_COUNT, struct.pack("<H", cpu_count))
        self.add_item(KEY_MAX_CPUS, struct.pack("<H", cpu_count))

    def add_file(self, name: str, data: bytes) -> None:
        """Offer ``data`` as a file, listed in the directory.

        Raises:
            ValueError: the name is too long or taken, or there are too many files.
        """
        if len(name.encode()) >= NAME_BYTES or name in dict(self._files) or len(self._files) >= FILES_MAX:
            raise ValueError(f"fw_cfg can't offer a file named {name!r}")
        self._items[KEY_FIRST_FILE + len(self._files)] = data
        self._files.append((name, data))
        self._list_files()

    def _list_files(self) -> None:
        directory = struct.pack(">I", len(self._files))
        for index, (name, data) in enumerate(self._files):
            directory += struct.pack(">IHH56s", len(data), KEY_FIRST_FILE + index, 0, name.encode())
        self._items[KEY_DIRECTORY] = directory

    def read(self, offset: int, size_bytes: int) -> int:
        if offset >= DMA_HIGH:
            return int.from_bytes(DMA_SIGNATURE[offset - DMA_HIGH :][:size_bytes], "little")
        if offset != DATA:
            return 0
        return int.from_bytes(self._take(size_bytes), "little")

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if offset == SELECTOR and size_bytes >= 2:
            self._select(value & 0xFFFF)
        elif offset >= DMA_HIGH and size_bytes >= 4:
            # Big-endian: the high half comes first, and writing the low half starts the transfer.
            half = int.from_bytes(value.to_bytes(size_bytes, "little"), "big")
            if size_bytes == 8 and offset == DMA_HIGH:
                self._transfer(half)
            elif offset == DMA_HIGH:
                self.dma_address = half << 32
            elif offset == DMA_LOW:
                address, self.dma_address = self.dma_address | half & 0xFFFF_FFFF, 0
                self._transfer(address)

    def _select(self, key: int) -> None:
        self.selector = key
        self.position = 0

    def _take(self, size: int) -> bytes:
        """The next bytes of the selected item; fewer than asked at its end."""
        data = self._items.get(self.selector, b"")[self.position : self.position + size]
        self.position += len(data)
        return data

    def _transfer(self, address: int) -> None:
        """Carry out the descriptor at ``address`` and put the outcome in its control word."""
        try:
            control, length, target = struct.unpack(">IIQ", self._memory.read(address, 16))
            if control & DMA_SELECT:
                self._select(control >> 16)
            if control & DMA_READ:
                is_done = self._copy_out(target, length)
            elif control & DMA_WRITE:
                is_done = False  # no item can be written
            else:
                is_done = True
                if control & DMA_SKIP:
                    self._take(length)
            self.errors += not is_done
            self._memory.write(address, struct.pack(">I", 0 if is_done else DMA_ERROR))
        except BadAddress:
            self.errors += 1

    def _copy_out(self, target: int, length: int) -> bool:
        if length == 0:
            return True
        if not self._memory.contains(target, length):
            return False
        data = self._take(length)
        self._memory.write(target, data)
        done = len(data)
        while done < length:
            piece = ZEROS[: length - done]
            self._memory.write(target + done, piece)
            done += len(piece)
        return True

    def save(self) -> Record:
        return save_fields(self, _STATE)

    def restore(self, record: Record) -> None:
        restore_fields(self, record, _STATE)
