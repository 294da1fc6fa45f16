"""Plugs a NIC in: the backend that a machine's configuration asks for."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.api.network import NetConfig
from ringfence.errors import UserError
from ringfence.network.backend import NetworkBackend
from ringfence.network.event_loop import LoopThread
from ringfence.network.loopback import Loopback
from ringfence.network.pcap import Pcap
from ringfence.network.threaded import Threaded
from ringfence.network.user.stack import UserNetwork

Post = Callable[[Callable[[], None]], None]


def plug(net: NetConfig, mac: bytes, post: Post) -> NetworkBackend:
    """A backend for the NIC with address ``mac``; ``post`` calls something on the vCPU's thread.

    Raises:
        UserError: a port, a socket or a capture file can't be used.
    """
    backend = _backend(net, mac, post)
    if net.capture is None:
        return backend
    try:
        return Pcap(backend, net.capture)
    except UserError:
        backend.close()
        raise


def _backend(net: NetConfig, mac: bytes, post: Post) -> NetworkBackend:
    if net.kind == "loopback":
        return Loopback()
    thread = LoopThread("network")
    try:
        return Threaded(_inner(net, mac, thread), thread, post)
    except BaseException:
        thread.close()
        raise


def _inner(net: NetConfig, mac: bytes, thread: LoopThread) -> NetworkBackend:
    network = UserNetwork(thread.loop)
    network.add(mac, net.name, net.forwards, net.allow)
    return network
