"""One TCP connection of a guest, spliced to a socket of the host.

RFC 9293 with window scaling (RFC 7323) and NewReno's way out of a loss (RFC 6582). There is no congestion
window: the only network in between is a queue in this process. Data goes by in pieces of up to 64 KiB: a
guest's long segments straight to the socket, and what the socket has as one packet that the guest's driver
takes whole.

What the guest has sent and the host does not take yet is held up to the window that was promised; what
the guest has not acknowledged is held to be sent again. Neither side is read when there is no room for it.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import TYPE_CHECKING

from ringfence.network.checksum import Buffer
from ringfence.network.event_loop import READABLE, WRITABLE, Timer
from ringfence.network.user import icmp
from ringfence.network.user.addresses import Client
from ringfence.network.user.ip import Datagram
from ringfence.network.user.tcp_queues import Backlog, Sent
from ringfence.network.user.tcp_segment import (
    ACK,
    FIN,
    MSS_MIN,
    PSH,
    RST,
    SEQUENCE_MASK,
    SYN,
    WINDOW_SHIFT,
    Builder,
    Segment,
)

if TYPE_CHECKING:
    from ringfence.network.user.tcp import Tcp

#: What the guest may send ahead, and what it is sent ahead.
RECEIVE_WINDOW = 1 << 20
SEND_WINDOW = 1 << 20
#: The most data in one packet: 64 KiB less headers.
_PACKET_BYTES_MAX = 64000
#: Reads from a socket before others have their turn.
_READS = 4
RETRANSMIT_SECONDS, RETRANSMIT_SECONDS_MAX = 0.3, 20.0
#: Unanswered, so often, the guest is gone.
RETRANSMITS_MAX = 9
CONNECT_SECONDS = 60.0

#: guest's address and port, remote address and port, as the guest sees them
Key = tuple[bytes, int, bytes, int]

_NEW, _CALLING_HOST, _CALLING_GUEST, _OPEN, _CLOSED = range(5)
_LINGER_RESET = struct.pack("ii", 1, 0)


class Connection:
    """One of `Tcp`'s connections. All methods are called by the loop."""

    def __init__(self, table: Tcp, client: Client, key: Key, host: socket.socket) -> None:
        self.client = client
        self.key = key
        self._table = table
        self._network = table.network
        self._host = host
        self._builder = Builder(client.mac, *key)
        self._state = _NEW
        self._watched = 0
        self._asked: Datagram | None = None
        # towards the guest
        self._sent = Sent(table.budget)
        self._window = self._shift = 0
        self._duplicates = 0
        #: end of what was under way when something was lost
        self._recover: int | None = None
        # from the guest: the next sequence number, and what the host has not taken
        self._expected = 0
        self._backlog = Backlog(host, table.budget)
        self._has_guest_fin = False
        self._our_shift = WINDOW_SHIFT
        self._promised = RECEIVE_WINDOW
        self._timer: Timer | None = None
        self._deadline = self._fires_at = 0.0
        self._timeout = RETRANSMIT_SECONDS
        self._retransmits = 0
        host.setblocking(False)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def is_half_closed(self) -> bool:
        return self._sent.is_fin_sent or self._has_guest_fin or self._state != _OPEN

    # -- opening --

    def call_host(self, segment: Segment, datagram: Datagram) -> None:
        """The guest asked for a connection: answer it when the host's is there."""
        self._state = _CALLING_HOST
        self._expected = (segment.sequence + 1) & SEQUENCE_MASK
        self._take_options(segment)
        self._asked = datagram
        self._start_timer(CONNECT_SECONDS)
        self._watch(WRITABLE)

    def call_guest(self) -> None:
        """Somebody outside asked for one with the guest."""
        self._state = _CALLING_GUEST
        self._send_syn()
        self._start_timer(self._timeout)

    def _host_is_there(self) -> None:
        error = self._host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNREFUSED:
            self.abort()
        elif error:
            assert self._asked is not None
            self._network.icmp.unreachable(self.client, self._asked, icmp.HOST)
            self._remove()
        else:
            self._asked = None
            self._state = _OPEN
            self._watch(0)
            self._send_syn()
            self._start_timer(self._timeout)

    def _send_syn(self) -> None:
        """SYN, or SYN and ACK in answer to the guest's."""
        is_first = self._state == _CALLING_GUEST
        options = self._builder.syn_options(is_first or self._our_shift > 0)
        self._sent.add_syn()
        flags = SYN if is_first else SYN | ACK
        self._network.emit(
            self._builder.build(self._sent.acked, self._expected, flags, 0xFFFF, options=options)
        )

    def _take_options(self, segment: Segment) -> None:
        if segment.mss is not None:
            self._builder.mss = min(max(segment.mss, MSS_MIN), self._builder.mss)
        if segment.shift is None:
            self._our_shift = 0
        self._shift = segment.shift or 0
        self._window = segment.window

    # -- from the guest --

    def receive(self, segment: Segment) -> None:
        flags = segment.flags
        if flags & RST:
            if segment.sequence == self._expected or self._state == _CALLING_GUEST:
                self._reset_host()
        elif self._state == _CALLING_GUEST:
            if flags & (SYN | ACK) == SYN | ACK and segment.acknowledgement == self._sent.next:
                self._state = _OPEN
                self._expected = (segment.sequence + 1) & SEQUENCE_MASK
                self._take_options(segment)
                self._table.has_to_acknowledge(self)
                self._acknowledged(segment, segment.window)
        elif self._state != _OPEN or not flags & ACK:
            return
        elif flags & SYN:
            if self._sent.is_syn_acked:
                self._table.has_to_acknowledge(self)  # it has not seen that we know
            else:
                self._send_syn()
        else:
            self._acknowledged(segment, segment.window << self._shift)
            if self._state == _OPEN and (segment.data or flags & FIN):
                self._take(segment)
            self._finish()

    def _acknowledged(self, segment: Segment, window: int) -> None:
        sent = self._sent
        advance = (segment.acknowledgement - sent.acked) & SEQUENCE_MASK
        in_flight = sent.in_flight
        if advance > in_flight:
            return  # old, or of what was never sent
        if advance:
            sent.release(advance)
            self._duplicates = self._retransmits = 0
            self._timeout = RETRANSMIT_SECONDS
            if sent.in_flight:
                self._start_timer(self._timeout)
            if self._recover is not None:
                if 0 < (self._recover - sent.acked) & SEQUENCE_MASK < in_flight:
                    self._retransmit()  # another hole behind the one that was filled
                else:
                    self._recover = None
        elif in_flight and not segment.data and window == self._window and not segment.flags & FIN:
            self._duplicates += 1
            if self._duplicates == 3 and self._recover is None:
                self._recover = sent.next
                self._retransmit()
        self._window = window
        if not self._watched & READABLE:
            self._pump()  # there may be room now

    def _take(self, segment: Segment) -> None:
        """Data in order goes to the host; what is not in order the guest will send again."""
        self._table.has_to_acknowledge(self)
        data = segment.data
        ahead = (segment.sequence - self._expected) & SEQUENCE_MASK
        if ahead:
            behind = SEQUENCE_MASK + 1 - ahead
            if behind > len(data):
                if ahead < RECEIVE_WINDOW:
                    self.acknowledge()  # at once, so that it counts as a duplicate
                return
            data = data[behind:]
        room = self._room
        has_fin = bool(segment.flags & FIN) and len(data) <= room
        data = data[:room]
        if self._has_guest_fin:
            return
        if data:
            self._expected = (self._expected + len(data)) & SEQUENCE_MASK
            self._backlog.add(data)
            self._table.has_to_write(self)
        if has_fin and self._state == _OPEN:
            self._expected = (self._expected + 1) & SEQUENCE_MASK
            self._has_guest_fin = True
            if not self._backlog:
                self._shut_host()

    def write(self) -> None:
        """Give the host what it takes of what the guest has sent."""
        if not self._backlog:
            return
        try:
            self._backlog.write()
        except OSError:
            self.abort()
            return
        if self._backlog:
            self._watch(self._watched | WRITABLE)
            return
        self._watch(self._watched & ~WRITABLE)
        if self._promised < RECEIVE_WINDOW // 2:
            self._table.has_to_acknowledge(self)
        if self._has_guest_fin:
            self._shut_host()
        self._finish()

    def _shut_host(self) -> None:
        try:
            self._host.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    # -- to the guest --

    def on_event(self, events: int) -> None:
        """The host's socket is ready."""
        if self._state == _CALLING_HOST:
            self._host_is_there()
            return
        if events & WRITABLE:
            self.write()
        if events & READABLE:
            self._pump()
        self._finish()

    def _pump(self) -> None:
        """Send what the host has, as far as the guest has room."""
        sent = self._sent
        if self._state != _OPEN or sent.is_fin_sent or not sent.is_syn_acked:
            return
        for _ in range(_READS):
            room = min(self._window, SEND_WINDOW) - sent.in_flight
            if room <= 0 or (sent.in_flight and room < self._builder.mss) or self._table.budget.is_spent:
                self._watch(self._watched & ~READABLE)
                if not sent.in_flight:
                    self._start_timer(self._timeout)  # ask for news of the window
                return
            limit = min(room, _PACKET_BYTES_MAX)
            try:
                data = self._host.recv(limit)
            except BlockingIOError:
                break
            except OSError:
                self.abort()
                return
            if data:
                self._emit(sent.next, ACK | PSH, data)
                sent.add(data)
                self._start_timer(self._timeout)
                if len(data) < limit:
                    break  # that was all
            else:
                self._watch(self._watched & ~READABLE)
                self._emit(sent.next, FIN | ACK)
                sent.add_fin()
                self._start_timer(self._timeout)
                return
        self._watch(self._watched | READABLE)

    def acknowledge(self) -> None:
        """An acknowledgement of all that has been taken, with the window that is open now."""
        if self._state == _OPEN:
            self._emit(self._sent.next, ACK)

    def _emit(self, sequence: int, flags: int, data: Buffer = b"") -> None:
        self._table.has_acknowledged(self)
        self._promised = self._room
        window = min(self._promised >> self._our_shift, 0xFFFF)
        self._network.emit(self._builder.build(sequence, self._expected, flags, window, data))

    def _retransmit(self) -> None:
        """The oldest that is not acknowledged, once more."""
        sent = self._sent
        self._network.counters["tcp_retransmitted"] += 1
        if not sent.is_syn_acked:
            self._send_syn()
        elif sent.oldest:
            self._emit(sent.acked, ACK | PSH, sent.oldest)
        elif sent.is_fin_sent and not sent.is_fin_acked:
            self._emit(sent.acked, FIN | ACK)
        else:
            self._emit((sent.acked - 1) & SEQUENCE_MASK, ACK)  # a guest answers what is old

    # -- time --

    def _start_timer(self, seconds: float) -> None:
        """One timer is under way at most. That a deadline moves on costs nothing: when the timer comes too
        early, it goes on to it."""
        self._deadline = time.monotonic() + seconds
        if self._timer is not None and self._fires_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._fires_at = self._deadline
            self._timer = self._network.loop.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        in_flight = self._sent.in_flight
        left = self._deadline - time.monotonic()
        if left > 0:
            self._start_timer(left)
        elif self._state == _CALLING_HOST or self._retransmits > RETRANSMITS_MAX:
            self._network.counters["tcp_timed_out"] += 1
            self.abort()
        elif in_flight or (not self._watched & READABLE and not self._sent.is_fin_sent):
            if in_flight:
                self._retransmits += 1
                self._recover = self._sent.next
            self._timeout = min(2 * self._timeout, RETRANSMIT_SECONDS_MAX)
            self._retransmit()
            self._start_timer(self._timeout)
            self._pump()

    # -- ending --

    def abort(self) -> None:
        """End both sides at once."""
        if self._state != _CLOSED:
            self._network.emit(self._builder.build(self._sent.next, self._expected, RST | ACK, 0))
            self._reset_host()

    def _reset_host(self) -> None:
        if self._state != _CLOSED:
            self._host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            self._remove()

    def _finish(self) -> None:
        """Both sides have said that they are done, and know it of each other."""
        is_done = self._has_guest_fin and self._sent.is_fin_acked and not self._backlog
        if self._state == _OPEN and is_done:
            self.acknowledge()
            self._remove()

    def _remove(self) -> None:
        self._state = _CLOSED
        self._watch(0)
        self._host.close()
        if self._timer is not None:
            self._timer.cancel()
        self._backlog.clear()
        self._sent.clear()
        self._table.remove(self)

    # -- parts --

    @property
    def _room(self) -> int:  # what the guest may send now
        return 0 if self._table.budget.is_spent else max(0, RECEIVE_WINDOW - self._backlog.size_bytes)

    def _watch(self, events: int) -> None:
        """A socket that is not wanted is not in epoll at all: it would report a hang-up again and again."""
        if events == self._watched:
            return
        self._watched = events
        if events:
            self._network.loop.watch(self._host.fileno(), events, self.on_event)
        else:
            self._network.loop.unwatch(self._host.fileno())
