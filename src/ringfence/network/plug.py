"""Plugs a NIC in: the backend that a machine's configuration asks for, and the NIC's address there.

It is done once for a machine, and outlives its reboots: what is published stays so, and no new socket is
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ringfence.api.network import NetConfig
from ringfence.errors import UserError
from ringfence.network.backend import Cable, NetworkBackend
from ringfence.network.event_loop import LoopThread
from ringfence.network.loopback import Loopback
from ringfence.network.pcap import Pcap
from ringfence.network.stream import Stream
from ringfence.network.switch.client import SwitchPort
from ringfence.network.threaded import Threaded
from ringfence.network.user.stack import UserNetwork

Post = Callable[[Callable[[], None]], None]

#: A locally administered address; the machine has one NIC.
MAC = bytes.fromhex("525246000001")


class Plug(NamedTuple):
    """What a NIC is made with."""

    backend: Cable
    mac: bytes


def plug_in(net: NetConfig, post: Post) -> Plug:
    """A backend for a machine's NIC; ``post`` calls something on the vCPU's thread.

    Raises:
        UserError: a port, a socket or a capture file can't be used.
        HostError: there is no place for a switch.
    """
    backend, mac = _plug(net, post)
    if net.capture is None:
        return Plug(backend, mac)
    try:
        return Plug(Pcap(backend, net.capture), mac)
    except UserError:
        backend.close()
        raise


def _plug(net: NetConfig, post: Post) -> Plug:
    if net.kind == "loopback":
        return Plug(Loopback(), MAC)
    thread = LoopThread("network")
    try:
        inner, mac = _on_thread(net, thread)
    except BaseException:
        thread.close()
        raise
    return Plug(Threaded(inner, thread, post), mac)


def _on_thread(net: NetConfig, thread: LoopThread) -> tuple[NetworkBackend, bytes]:
    if net.kind == "switch":
        port = SwitchPort(net, thread.loop)
        return port, bytes.fromhex(port.welcome.mac.replace(":", ""))
    if net.socket is not None:
        return Stream(net.socket, thread.loop), MAC
    network = UserNetwork(thread.loop)
    network.add(MAC, net.name, net.forwards, net.allow, net.name_servers)
    return network, MAC
