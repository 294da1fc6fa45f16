"""What a guest may reach outside: all but the host itself, or a list of networks and names.

Names are opened by asking for them: the forwarder resolves those on the list and no others, so that names
can't be used to carry data out, and each address of an answer is open for the answer's time to live. The
host's own loopback is reached through the gateway's address, and only when the list has it by address.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ringfence.api.network import Network, as_network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Addresses that answers have opened; the oldest gives way.
OPENED_MAX = 1024
#: An answer with no time to live is still used once, and no answer is believed for longer than a day.
OPEN_SECONDS_MIN, OPEN_SECONDS_MAX = 10, 86400

LOOPBACK = b"\x7f\0\0\x01"
LOOPBACK6 = bytes(15) + b"\x01"
_LOOPBACKS = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
#: Never a host to talk to; link-local IPv6 addresses mean nothing without an interface.
_NOWHERE = [
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "224.0.0.0/3", "::/128", "::ffff:0:0/96", "ff00::/8", "fe80::/10")
]


class Policy:
    """Which addresses and names a guest may use; ``allow`` of None is the open policy."""

    def __init__(
        self, allow: Sequence[str] | None = None, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        rules = [(text, as_network(text)) for text in allow or ()]
        self.is_open = allow is None
        self._networks = [network for _, network in rules if network is not None]
        self._names = [text for text, network in rules if network is None]
        self._seconds = seconds
        self._opened: OrderedDict[bytes, float] = OrderedDict()

    def allows(self, packed: bytes) -> bool:
        """Whether a host's address may be reached."""
        address = ipaddress.ip_address(packed)
        if _is_in(address, _NOWHERE):
            return False
        for network in self._networks:
            if address in network and (not _is_in(address, _LOOPBACKS) or _is_loopback(network)):
                return True
        if _is_in(address, _LOOPBACKS):
            return False
        return self.is_open or self._opened.get(packed, 0) > self._seconds()

    def allows_name(self, name: str) -> bool:
        """Whether a name may be resolved."""
        return self.is_open or any(_matches(name, pattern) for pattern in self._names)

    def open(self, packed: bytes, ttl_seconds: int) -> None:
        """An allowed name has this address."""
        if self.is_open:
            return
        seconds = min(max(ttl_seconds, OPEN_SECONDS_MIN), OPEN_SECONDS_MAX)
        until = max(self._seconds() + seconds, self._opened.pop(packed, 0))
        self._opened[packed] = until
        if len(self._opened) > OPENED_MAX:
            self._opened.popitem(last=False)


def _matches(name: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return name == pattern


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _is_loopback(network: Network) -> bool:
    return network.is_loopback
