"""The DNS forwarder: guests ask the gateway, and it asks this host's name servers.

Each question goes from a port and with a number of its own (RFC 5452), and only its answer is passed on.
What a guest's policy does not allow is refused here, and what it does opens the addresses of the answer.
The network's own names are answered without asking anybody.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.api.network import DNS_PORT, NameServer
from ringfence.network.event_loop import READABLE
from ringfence.network.user import hosts, names
from ringfence.network.user.addresses import GATEWAY, GATEWAY6, PREFIX6, Client, Server
from ringfence.network.user.policy import LOOPBACK6

if TYPE_CHECKING:
    from ringfence.network.user.stack import UserNetwork

#: Questions that wait for an answer; the oldest gives way.
PENDING_MAX = 64
TIMEOUT_SECONDS = 10
_HOST_NAMES = ("gateway", "host")

Answer = Callable[[bytes], None]


def resolvers(path: Path = Path("/etc/resolv.conf")) -> list[Server]:
    """This host's name servers."""
    found: list[Server] = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            family = socket.AF_INET6 if ":" in words[1] else socket.AF_INET
            try:
                found.append((socket.inet_pton(family, words[1]), DNS_PORT))
            except OSError:
                continue  # with an interface's name at its end
    return found


def as_servers(name_servers: Sequence[NameServer]) -> list[Server]:
    return [(ipaddress.ip_address(each.ip).packed, each.port) for each in name_servers]


class Forwarder:
    """Answers the queries of a network's guests; ``servers`` are for those that have none of their own."""

    def __init__(self, network: UserNetwork, servers: list[Server]) -> None:
        self._network = network
        self._servers = servers
        self._next = 0
        self._pending: OrderedDict[int, socket.socket] = OrderedDict()

    def servers_of(self, client: Client) -> list[Server]:
        """Who is asked for a guest."""
        return client.name_servers or self._servers

    def ask(self, client: Client, query: bytes, answer: Answer) -> None:
        """``answer`` is called at most once, now or later."""
        question = names.parse_query(query)
        if question is None:
            self._network.counters["dns_malformed"] += 1
            return
        own = self._own(client, question)
        if own is not None:
            addresses = [
                address for address in own if len(address) == (4 if question.kind == names.A else 16)
            ]
            is_asked = question.kind in (names.A, names.AAAA)
            answer(names.reply(query, question, names.NO_ERROR, addresses if is_asked else None))
        elif question.name.endswith("." + names.DOMAIN):
            answer(names.reply(query, question, names.NAME_ERROR))
        elif not client.policy.allows_name(question.name):
            self._network.counters["dns_denied"] += 1
            answer(names.reply(query, question, names.REFUSED))
        else:
            try:
                self._forward(client, query, question, answer)
            except OSError:
                self._network.counters["dns_failed"] += 1
                answer(names.reply(query, question, names.SERVER_FAILURE))

    def close(self) -> None:
        while self._pending:
            self._forget(next(iter(self._pending)))

    def _own(self, asking: Client, question: names.Question) -> list[bytes] | None:
        """The addresses of one of the network's own names. The gateway stands for this host, so a guest is
        not sent to it by a family in which it may not reach that."""
        name = question.name.removesuffix("." + names.DOMAIN)
        if "." in name or not name:
            return None
        client = self._network.clients.by_name(name)
        if client is not None:
            return [client.ip4, *(address for address in client.ip6 if address[:8] == PREFIX6)]
        if name not in _HOST_NAMES:
            return None
        return [GATEWAY, GATEWAY6] if asking.policy.allows(LOOPBACK6) else [GATEWAY]

    def _forward(self, client: Client, query: bytes, question: names.Question, answer: Answer) -> None:
        servers = self.servers_of(client)
        if not servers:
            raise OSError("no name server")
        self._next += 1
        server = servers[self._next % len(servers)]
        asking = hosts.connect(socket.SOCK_DGRAM, *server)
        if len(self._pending) >= PENDING_MAX:
            self._forget(next(iter(self._pending)))
        fd = asking.fileno()
        self._pending[fd] = asking
        number = secrets.token_bytes(2)
        receive = partial(self._receive, asking, client, query, question, number, answer)
        self._network.loop.watch(fd, READABLE, receive)
        self._network.loop.call_later(TIMEOUT_SECONDS, partial(self._expire, asking))
        asking.send(number + query[2:])

    def _receive(
        self,
        asking: socket.socket,
        client: Client,
        query: bytes,
        question: names.Question,
        number: bytes,
        answer: Answer,
        events: int,
    ) -> None:
        try:
            message = asking.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self._forget(asking.fileno())
            self._network.counters["dns_failed"] += 1
            answer(names.reply(query, question, names.SERVER_FAILURE))
            return
        addresses = names.parse_answer(message, question)
        if addresses is None or message[:2] != number:
            self._network.counters["dns_forged"] += 1
            return
        self._forget(asking.fileno())
        for address, ttl in addresses:
            client.policy.open(address, ttl)
        answer(query[:2] + message[2:])

    def _expire(self, asking: socket.socket) -> None:
        if self._pending.get(asking.fileno()) is asking:
            self._forget(asking.fileno())

    def _forget(self, fd: int) -> None:
        asking = self._pending.pop(fd, None)
        if asking is not None:
            self._network.loop.unwatch(fd)
            asking.close()
