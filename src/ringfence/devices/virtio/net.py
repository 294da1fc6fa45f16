"""virtio-net: a network interface, one queue pair, checksum and segmentation offload.

VIRTIO 1.2, section 5.1. Every frame is preceded by a 12-byte header. From the guest it says which checksum is
left to fill in and how a long TCP segment is to be cut; to the guest it says the same of what comes, if the
guest takes it so, and how many buffers a received frame takes. It travels with the frame to the backend
(`network.backend`): most frames reach their end without being cut or summed at all.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence

from ringfence.core.dma.chain import Chain
from ringfence.devices.device import Record
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.network import offload
from ringfence.network.backend import QUEUE_PACKETS_MAX, Cable

F_CSUM = 1 << 0
F_GUEST_CSUM = 1 << 1
F_MAC = 1 << 5
F_GUEST_TSO4 = 1 << 7
F_GUEST_TSO6 = 1 << 8
F_HOST_TSO4 = 1 << 11
F_HOST_TSO6 = 1 << 12
F_MRG_RXBUF = 1 << 15
F_STATUS = 1 << 16
F_OFFLOADS = F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6

RECEIVE, TRANSMIT = 0, 1
STATUS_LINK_UP = 1

_HEADER_BYTES = offload.HEADER_BYTES
_BUFFERS_OFFSET = 10
_PACKET_BYTES_MAX = _HEADER_BYTES + offload.FRAME_BYTES_MAX
#: The feature that lets a packet of each type pass as it is.
_TAKES = {offload.GSO_NONE: F_GUEST_CSUM, offload.GSO_TCPV4: F_GUEST_TSO4, offload.GSO_TCPV6: F_GUEST_TSO6}

_CONFIG = struct.Struct("<6sH")


class VirtioNet(VirtioDevice):
    """An interface with address ``mac`` (6 bytes), plugged into ``backend``."""

    device_type = 1
    class_code = 0x020000
    queue_sizes = (256, 256)

    def __init__(self, name: str, backend: Cable, mac: bytes) -> None:
        super().__init__(name)
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError(f"{name}: not a station's MAC address: {mac.hex(':')}")
        self._backend = backend
        self._mac = mac
        self._is_link_up = True
        self._pending: deque[bytes] = deque()
        #: the backend was told that packets wait here
        self._has_held = False
        #: packets wait in the guest's queue until the backend has time
        self._is_deferred = False
        backend.connect(self.receive)

    # Configuration.

    @property
    def offered_features(self) -> int:
        return F_MAC | F_MRG_RXBUF | F_STATUS | F_OFFLOADS

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

    def receive(self, packets: Sequence[bytes]) -> bool:
        """Packets from the network; whether the guest has taken all."""
        if not (self._is_link_up and self.queues and self.queues[RECEIVE].is_running):
            self.counters["receive_dropped"] += len(packets)
            return True
        for packet in packets:
            if not offload.is_sound(packet):
                self.counters["receive_dropped"] += 1
            elif packet[0] & offload.NEEDS_CSUM and not self.features & _TAKES[packet[1]]:
                for frame in offload.plain(packet):
                    self._enqueue(offload.PLAIN + frame)
            else:
                self._enqueue(packet)
        self._deliver()
        self._has_held = bool(self._pending)
        return not self._has_held

    def _enqueue(self, packet: bytes) -> None:
        """A port that is full drops."""
        if len(self._pending) >= QUEUE_PACKETS_MAX:
            self._deliver()
        if len(self._pending) < QUEUE_PACKETS_MAX:
            self._pending.append(packet)
        else:
            self.counters["receive_dropped"] += 1

    def _transmit(self) -> None:
        self._is_deferred = self._backend.defer(self._transmit)
        if self._is_deferred:
            return
        queue = self.queues[TRANSMIT]
        packets: list[bytes] = []
        for chain in queue.chains():
            packet = chain.read(0, chain.readable_bytes) if chain.readable_bytes <= _PACKET_BYTES_MAX else b""
            if self._is_link_up and offload.is_sound(packet):
                packets.append(packet)
            else:
                self.counters["transmit_dropped"] += 1
            queue.push(chain, 0)
        if packets:
            self.counters["transmitted_packets"] += len(packets)
            self.counters["transmitted_bytes"] += sum(map(len, packets)) - len(packets) * _HEADER_BYTES
            self._backend.send(packets)

    def _deliver(self) -> None:
        while self._pending and self._put(self._pending[0]):
            self._pending.popleft()
        self.queues[RECEIVE].signal()
        if not self._pending:
            self._go_on()

    def _go_on(self) -> None:
        if self._has_held:
            self._has_held = False
            self._backend.go_on()

    def _put(self, packet: bytes) -> bool:
        """Copy one packet into as many buffers as it takes; False when there are too few of them."""
        queue = self.queues[RECEIVE]
        is_mergeable = bool(self.features & F_MRG_RXBUF)
        size = len(packet)
        chains: list[Chain] = []
        room = 0
        while room < size and (is_mergeable or not chains):
            chain = queue.pop()
            if chain is None:
                queue.unpop(len(chains))
                return False
            if chain.writable_bytes < _HEADER_BYTES:
                queue.fail("receive buffer smaller than its header")
                return False
            chains.append(chain)
            room += chain.writable_bytes
        if room < size:
            # One buffer is all there is for a frame, and this one is too small.
            self.counters["receive_dropped"] += 1
            queue.push(chains[0], 0)
            return True
        view = memoryview(packet)
        done = 0
        for chain in chains:
            written = chain.write(0, view[done : done + chain.writable_bytes])
            if not done:
                chain.write(_BUFFERS_OFFSET, len(chains).to_bytes(2, "little"))
            queue.push(chain, written)
            done += written
        self.counters["received_packets"] += 1
        self.counters["received_bytes"] += size - _HEADER_BYTES
        return True

    # State.

    def save(self) -> Record:
        return {
            "pending": list(self._pending),
            "is_link_up": self._is_link_up,
            "is_deferred": self._is_deferred,
        }

    def restore(self, record: Record) -> None:
        pending = record["pending"]
        assert isinstance(pending, list)
        self._pending = deque(pending)
        self._has_held = False
        self._is_link_up = bool(record["is_link_up"])
        if record["is_deferred"]:
            self.queues[TRANSMIT].events.again()

    def reset(self) -> None:
        self._pending.clear()
        self._go_on()
