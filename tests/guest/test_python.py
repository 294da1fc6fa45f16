"""The Python API on a Debian guest, as a notebook would use it; the keyboard, which has no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from benchmarks.guest_console import BOOT_SECONDS, PROMPT
from ringfence import Kind, Machine
from ringfence.errors import BadAddress, ExpectTimeout, UserError
from ringfence.image.debian import Guest


@pytest.fixture(scope="module")
def vm(debian: Guest) -> Iterator[Machine]:
    with Machine(debian.kernel, initrd=debian.initrd, append="console=ttyS0 quiet", memory="256M") as machine:
        assert machine.state == "new"
        machine.start()
        machine.console.expect(PROMPT, BOOT_SECONDS)
        yield machine


def test_console_round_trip(vm: Machine) -> None:
    vm.console.send("echo $((40 + 2))\n")
    assert vm.console.expect(r"\n(\d+)\r", 60).group(1) == "42"
    assert "echo $((40 + 2))" in vm.console.log


def test_engines_take_over_from_each_other(vm: Machine) -> None:
    """Back and forth in the middle of a computation, whose result must not show it."""
    vm.console.send(
        "i=0; s=0; while [ $i -lt 20000 ]; do i=$((i+1)); s=$(((s*31+i)%65521)); done; echo sum=$s=\n"
    )
    for turn in range(20):
        vm.engine = ("interpret", "translate")[turn % 2]
        time.sleep(0.05)
    expected = 0
    for i in range(1, 20001):
        expected = (expected * 31 + i) % 65521
    assert vm.console.expect(r"sum=(\d+)=", 120).group(1) == str(expected)
    assert vm.engine == vm.cpus[0].engine == "translate"
    with pytest.raises(UserError, match="no engine"):
        vm.engine = "hope"


def test_what_does_not_come_is_an_exception_with_what_came(vm: Machine) -> None:
    with pytest.raises(ExpectTimeout, match="no such thing"):
        vm.console.expect("no such thing", timeout=0.2)


def test_keys_arrive_through_the_i8042(vm: Machine) -> None:
    vm.console.send('read -r line < /dev/tty1; echo "typed <$line>"\n')
    vm.console.expect("/dev/tty1", 60)
    time.sleep(1)
    vm.keyboard.type_text("Hello, World #42! [a-z] {A_Z} ~/x|y\n")
    assert vm.console.expect(r"typed <(.*)>\r", 60).group(1) == "Hello, World #42! [a-z] {A_Z} ~/x|y"


def test_pause_stops_the_guest_and_its_clock(vm: Machine) -> None:
    vm.console.read()
    vm.console.send("while :; do cut -d' ' -f1 /proc/uptime; sleep 0.1; done\n")
    before = float(vm.console.expect(r"\n(\d+\.\d+)\r", 60).group(1))
    vm.pause()
    assert vm.state == "paused"
    vm.console.read()
    rip = vm.cpus[0].regs.rip
    instructions = vm.report()["vcpus"][0]["instructions"]
    time.sleep(3)
    assert vm.console.read() == ""
    assert vm.cpus[0].regs.rip == rip
    assert vm.report()["vcpus"][0]["instructions"] == instructions
    vm.resume()
    after = float(vm.console.expect(r"\n(\d+\.\d+)\r", 60).group(1))
    assert before < after < before + 2.5, "the guest saw the time it was paused"
    vm.console.send("\x03")
    vm.console.expect(PROMPT, 60)


def test_registers_and_memory_can_be_looked_at(vm: Machine) -> None:
    vm.pause()
    assert vm.cpus[0].regs.cr0 & 0x8000_0001 == 0x8000_0001
    assert vm.cpus[0].regs.efer & 0x400
    assert vm.memory.size_bytes == 256 << 20
    page = vm.memory.read(0x1000, 4096)
    assert len(page) == 4096
    vm.memory.write(0x1000, page)
    with pytest.raises(BadAddress):
        vm.memory.read(1 << 40, 1)
    vm.resume()


def test_the_report_adds_up(vm: Machine) -> None:
    vm.pause()
    report = vm.report()
    vm.resume()
    (vcpu,) = report["vcpus"]
    assert report["outcome"] is None
    assert vcpu["exits"]["IO"] == vcpu["counters"]["io"] or vcpu["exits"]["IO"] > 0
    assert vcpu["mips"] == pytest.approx(vcpu["instructions"] * 1000 / vcpu["guest_ns"], rel=0.1)


def test_power_off_is_an_outcome(vm: Machine) -> None:
    vm.console.send("poweroff\n")
    outcome = vm.wait(60)
    assert outcome.kind is Kind.POWER_OFF
    assert outcome.exit_status == 0
    assert vm.state == "ended"
    with pytest.raises(ExpectTimeout, match="ended"):
        vm.console.expect("anything", 60)


def test_wait_times_out_and_close_ends_a_running_machine(debian: Guest) -> None:
    with Machine(debian.kernel, initrd=debian.initrd) as machine:
        machine.start()
        with pytest.raises(TimeoutError):
            machine.wait(0.1)
    assert machine.outcome is not None and machine.outcome.kind is Kind.KILLED
