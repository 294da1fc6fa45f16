"""virtio-net: a network interface, one queue pair, no offloads.

VIRTIO 1.2, section 5.1. Every frame is preceded by a 12-byte header, which without offloads says
nothing but how many buffers a received frame takes (mergeable receive buffers)::

    flags u8, gso_type u8, hdr_len le16, gso_size le16, csum_start le16, csum_offset le16,
    num_buffers le16
"""

from __future__ import annotations

import struct
from collections import deque

from ringfence.devices.device import Record
from ringfence.devices.virtio.chain import Chain
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.network.backend import NetworkBackend

F_MAC = 1 << 5
F_MRG_RXBUF = 1 << 15
F_STATUS = 1 << 16

RECEIVE, TRANSMIT = 0, 1
STATUS_LINK_UP = 1

FRAME_BYTES_MIN = 14
#: Without offloads a frame is at most an Ethernet header, a VLAN tag and 1500 bytes; jumbo
#: frames are let through. It also bounds what waits in `_pending`.
FRAME_BYTES_MAX = 9018
#: Frames that wait for a receive buffer; more are dropped, as by a full switch port.
PENDING_FRAMES_MAX = 256

_HEADER = struct.Struct("<BBHHHHH")
_CONFIG = struct.Struct("<6sH")


class VirtioNet(VirtioDevice):
    """An interface with address ``mac`` (6 bytes), plugged into ``backend``."""

    device_type = 1
    class_code = 0x020000
    queue_sizes = (256, 256)

    def __init__(self, name: str, backend: NetworkBackend, mac: bytes) -> None:
        super().__init__(name)
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError(f"{name}: not a station's MAC address: {mac.hex(':')}")
        self._backend = backend
        self._mac = mac
        self._is_link_up = True
        self._pending: deque[bytes] = deque()
        backend.connect(self.receive)

    # Configuration.

    @property
    def offered_features(self) -> int:
        return F_MAC | F_MRG_RXBUF | F_STATUS

    def config(self) -> bytes:
        return _CONFIG.pack(self._mac, STATUS_LINK_UP * self._is_link_up)

    def set_link(self, is_up: bool) -> None:
        """Plug the cable in or pull it out."""
        self._is_link_up = is_up
        self.config_changed()

    # Queues.

    def notify(self, index: int) -> None:
        if index == RECEIVE:
            self._deliver()
        else:
            self._transmit()

    def receive(self, frame: bytes) -> None:
        """A frame from the network."""
        is_fit = FRAME_BYTES_MIN <= len(frame) <= FRAME_BYTES_MAX
        if not (is_fit and self._is_link_up and self.queues and self.queues[RECEIVE].is_running):
            self.counters["receive_dropped"] += 1
            return
        if len(self._pending) >= PENDING_FRAMES_MAX:
            self.counters["receive_dropped"] += 1
            return
        self._pending.append(frame)
        self._deliver()

    def _transmit(self) -> None:
        queue = self.queues[TRANSMIT]
        for chain in queue.chains():
            size = chain.readable_bytes - _HEADER.size
            if FRAME_BYTES_MIN <= size <= FRAME_BYTES_MAX and self._is_link_up:
                self.counters["transmitted_frames"] += 1
                self._backend.send(chain.read(_HEADER.size, size))
            else:
                self.counters["transmit_dropped"] += 1
            queue.push(chain, 0)

    def _deliver(self) -> None:
        while self._pending and self._put(self._pending[0]):
            self._pending.popleft()
        self.queues[RECEIVE].signal()

    def _put(self, frame: bytes) -> bool:
        """Copy one frame into as many buffers as it takes; False when there are too few of them."""
        queue = self.queues[RECEIVE]
        is_mergeable = bool(self.features & F_MRG_RXBUF)
        size = _HEADER.size + len(frame)
        chains: list[Chain] = []
        room = 0
        while room < size and (is_mergeable or not chains):
            chain = queue.pop()
            if chain is None:
                queue.unpop(len(chains))
                return False
            if chain.writable_bytes < _HEADER.size:
                queue.fail("receive buffer smaller than its header")
                return False
            chains.append(chain)
            room += chain.writable_bytes
        if room < size:
            # One buffer is all there is for a frame, and this one is too small.
            self.counters["receive_dropped"] += 1
            queue.push(chains[0], 0)
            return True
        packet = _HEADER.pack(0, 0, 0, 0, 0, 0, len(chains)) + frame
        done = 0
        for chain in chains:
            written = chain.write(0, packet[done : done + chain.writable_bytes])
            queue.push(chain, written)
            done += written
        self.counters["received_frames"] += 1
        return True

    # State.

    def save(self) -> Record:
        return {"pending": list(self._pending), "is_link_up": self._is_link_up}

    def restore(self, record: Record) -> None:
        pending = record["pending"]
        assert isinstance(pending, list)
        self._pending = deque(pending)
        self._is_link_up = bool(record["is_link_up"])

    def reset(self) -> None:
        self._pending.clear()
