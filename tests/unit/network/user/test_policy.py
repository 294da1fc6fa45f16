"""What a guest may reach: the open policy, networks, names and the addresses that they open."""

from __future__ import annotations

import ipaddress

import pytest

from ringfence.network.user.policy import OPENED_MAX, Policy


def _allows(policy: Policy, text: str) -> bool:
    return policy.allows(ipaddress.ip_address(text).packed)


@pytest.mark.parametrize("address", ["1.1.1.1", "10.1.2.3", "192.168.0.1", "2606:4700::1", "169.254.169.254"])
def test_without_a_list_all_hosts_are_open(address: str) -> None:
    assert _allows(Policy(), address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1"],
)
@pytest.mark.parametrize("allow", [None, ("0.0.0.0/0", "::/0")])
def test_but_never_this_host_by_chance(address: str, allow: tuple[str, ...] | None) -> None:
    assert not _allows(Policy(allow), address)


def test_this_host_is_open_when_it_is_named() -> None:
    policy = Policy(("127.0.0.1/32",))
    assert _allows(policy, "127.0.0.1")
    assert not _allows(policy, "127.0.0.2") and not _allows(policy, "1.1.1.1") and not _allows(policy, "::1")
    assert _allows(Policy(("::1/128",)), "::1")


def test_networks() -> None:
    policy = Policy(("10.0.0.0/8", "2001:db8::/32"))
    assert _allows(policy, "10.255.0.1") and _allows(policy, "2001:db8::5")
    assert not _allows(policy, "11.0.0.1") and not _allows(policy, "2001:db9::5")
    assert not policy.allows_name("example.org"), "a list without names resolves none"


def test_names() -> None:
    policy = Policy(("deb.debian.org", "*.example.org"))
    assert policy.allows_name("deb.debian.org") and policy.allows_name("a.b.example.org")
    for name in ("debian.org", "xdeb.debian.org", "example.org", "badexample.org", "deb.debian.org.evil.com"):
        assert not policy.allows_name(name), name
    assert Policy(("*",)).allows_name("anything.at.all") and Policy().allows_name("anything")


def test_an_answer_opens_an_address_for_its_time() -> None:
    now = [100.0]
    policy = Policy(("deb.debian.org",), seconds=lambda: now[0])
    address = ipaddress.ip_address("1.2.3.4").packed
    assert not policy.allows(address)
    policy.open(address, 60)
    assert policy.allows(address)
    policy.open(address, 5)
    now[0] += 59
    assert policy.allows(address), "a shorter answer takes nothing away"
    now[0] += 2
    assert not policy.allows(address)
    policy.open(address, 0)
    assert policy.allows(address), "an answer can be used once at least"


def test_an_answer_does_not_open_this_host() -> None:
    policy = Policy(("rebind.example.org",))
    policy.open(b"\x7f\0\0\x01", 60)
    assert not policy.allows(b"\x7f\0\0\x01")


def test_opened_addresses_are_bounded() -> None:
    policy = Policy(("*",))
    for number in range(OPENED_MAX + 10):
        policy.open((0x0B00_0000 + number).to_bytes(4, "big"), 60)
    assert not policy.allows((0x0B00_0000).to_bytes(4, "big"))
    assert policy.allows((0x0B00_0000 + OPENED_MAX).to_bytes(4, "big"))
