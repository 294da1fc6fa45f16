"""Ports of the host for a guest's."""

from __future__ import annotations

import socket

import pytest

from ringfence.api.network import parse_forward
from ringfence.errors import UserError
from ringfence.host.ports import Published, choose_ports


def test_a_free_port_is_chosen_where_none_is_said() -> None:
    publish = ["80", "0:80/udp", "127.0.0.1:0:81", "8080:82", "[::1]:9000:83"]
    chosen = choose_ports(publish)
    assert chosen[3:] == publish[3:], "as it was written"
    forwards = [parse_forward(text) for text in chosen[:3]]
    assert [each.guest_port for each in forwards] == [80, 80, 81]
    assert [each.is_udp for each in forwards] == [False, True, False]
    assert forwards[0].host_port != forwards[2].host_port
    for each in forwards:
        kind = socket.SOCK_DGRAM if each.is_udp else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as free:
            free.bind((each.host_ip, each.host_port))


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(UserError, match="can't publish"):
        choose_ports(["192.0.2.1:0:80"])


def test_where_a_port_is_reached() -> None:
    assert Published("::1", 80, 8080, "tcp").address == "[::1]:80"
    assert Published("127.0.0.1", 80, 8080, "tcp").address == "127.0.0.1:80"
