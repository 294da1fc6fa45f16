"""Seccomp filters, run on paper: an interpreter of classic BPF decides as the kernel would."""

from __future__ import annotations

import struct

import pytest

from ringfence.vmm.jail import bpf, policy
from ringfence.vmm.jail.bpf import Check, Rule
from ringfence.vmm.jail.numbers import NUMBERS

PID = 4242
EXEC, WRITE, SHARED, PRIVATE = 4, 2, 1, 2


def decide(program: bytes, number: int, *arguments: int, architecture: int = bpf.ARCHITECTURE_X86_64) -> int:
    """The action that a filter returns."""
    words = [argument & (1 << 64) - 1 for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *words)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x15:
            at += if_true if accumulator == k else if_false
        elif operation == 0x35:
            at += if_true if accumulator >= k else if_false
        else:
            assert operation == 0x06
            return k


def test_what_no_rule_names_is_refused() -> None:
    program = bpf.assemble([Rule(3), Rule(1)])
    assert [decide(program, n) for n in range(5)] == [
        bpf.REFUSE, bpf.ALLOW, bpf.REFUSE, bpf.ALLOW, bpf.REFUSE
    ]  # fmt: skip


def test_other_interfaces_are_killed() -> None:
    program = bpf.assemble([Rule(1)])
    assert decide(program, 1, architecture=0x4000_0003) == bpf.KILL
    assert decide(program, 1 | bpf.X32_BIT) == bpf.KILL
    assert decide(program, 0xFFFF_FFFF) == bpf.KILL


def test_arguments() -> None:
    both = (Check(0, 1, 3), Check(5, 7, is_upper_word=True))
    program = bpf.assemble([Rule(9, (both, *bpf.one_of(1, (5, 6))))])
    assert decide(program, 9, 0b101, 0, 0, 0, 0, 7 << 32) == bpf.ALLOW
    assert decide(program, 9, 0b111, 0, 0, 0, 0, 7 << 32) == bpf.REFUSE
    assert decide(program, 9, 0b101, 0, 0, 0, 0, 7) == bpf.REFUSE
    assert decide(program, 9, 0, 6) == decide(program, 9, 0, 5) == bpf.ALLOW
    assert decide(program, 9, 0, 5 | 1 << 40) == bpf.ALLOW  # an int: the kernel looks at 32 bits
    assert decide(program, 9, 0, 4) == bpf.REFUSE


def test_a_filter_has_an_end() -> None:
    with pytest.raises(ValueError, match="instructions"):
        bpf.assemble([Rule(1)] * 2000)


def allowed(program: bytes, name: str, *arguments: int) -> bool:
    return decide(program, NUMBERS[name], *arguments) == bpf.ALLOW


PROCESS = policy.process_filter(PID, may_connect=False)
ONLINE = policy.process_filter(PID, may_connect=True)
VCPU = policy.vcpu_filter(may_open=False)
SHARING_VCPU = policy.vcpu_filter(may_open=True)


@pytest.mark.parametrize("name", policy.NEVER.split())
def test_the_unthinkable_ends_the_process(name: str) -> None:
    assert decide(PROCESS, NUMBERS[name]) == decide(ONLINE, NUMBERS[name]) == bpf.KILL


def test_executable_memory() -> None:
    assert allowed(PROCESS, "mmap", 0, 4096, 1 | WRITE, PRIVATE | 0x20)
    assert allowed(PROCESS, "mmap", 0, 4096, 1 | EXEC, SHARED)
    assert allowed(PROCESS, "mmap", 0, 4096, 1 | EXEC, SHARED | 0x10)
    assert not allowed(PROCESS, "mmap", 0, 4096, 1 | EXEC, PRIVATE)
    assert not allowed(PROCESS, "mmap", 0, 4096, 1 | EXEC, PRIVATE | 0x20)
    assert not allowed(PROCESS, "mmap", 0, 4096, 1 | EXEC | WRITE, SHARED)
    assert allowed(PROCESS, "mprotect", 0, 4096, 1 | WRITE)
    assert not allowed(PROCESS, "mprotect", 0, 4096, EXEC)


def test_threads_and_no_processes() -> None:
    thread, vfork, namespace = 0x3D0F00, 0x4111, 0x10000000
    assert allowed(PROCESS, "clone", thread)
    assert not allowed(PROCESS, "clone", vfork) and not allowed(PROCESS, "clone", 17)
    assert not allowed(PROCESS, "clone", thread | namespace)
    assert not allowed(VCPU, "clone", thread)
    assert decide(PROCESS, NUMBERS["clone3"]) == bpf.UNKNOWN


def test_signals_to_itself_only() -> None:
    assert allowed(PROCESS, "kill", PID, 9) and allowed(PROCESS, "tgkill", PID, PID + 1, 9)
    assert not allowed(PROCESS, "kill", 1, 9) and not allowed(PROCESS, "kill", -1, 9)


def test_sockets() -> None:
    for domain, kind, is_internet in ((2, 1, True), (10, 2 | 0x80000, True), (1, 1, False), (16, 3, False)):
        assert allowed(ONLINE, "socket", domain, kind) is is_internet
        assert not allowed(PROCESS, "socket", domain, kind)
        assert not allowed(VCPU, "socket", domain, kind)
    assert not allowed(ONLINE, "socket", 2, 3)  # raw
    assert not allowed(PROCESS, "connect") and not allowed(VCPU, "connect") and allowed(ONLINE, "connect")
    assert allowed(PROCESS, "sendto", 5, 1, 1, 0, 0, 0)
    assert not allowed(PROCESS, "sendto", 5, 1, 1, 0, 0x7FFF_0000_0000, 16)


def test_files_on_a_vcpus_thread() -> None:
    for name in policy.FILES.split():
        assert allowed(PROCESS, name) and allowed(SHARING_VCPU, name) and not allowed(VCPU, name)
    assert allowed(PROCESS, "mknodat", 3, 0, 0x1000 | 0o600)
    assert not allowed(PROCESS, "mknodat", 3, 0, 0x2000 | 0o600)
    assert not allowed(PROCESS, "mknodat", 3, 0, 0x6000 | 0o600)


def test_a_terminal_is_not_typed_on() -> None:
    assert allowed(PROCESS, "ioctl", 0, 0x5401)
    assert not allowed(PROCESS, "ioctl", 0, 0x5412)


def test_limits_are_read_and_not_set() -> None:
    assert allowed(PROCESS, "prlimit64", 0, 7, 0, 0x7FFF_0000_0000)
    assert not allowed(PROCESS, "prlimit64", 0, 7, 0x7FFF_0000_0000, 0)
