"""`--report json`: numbers add up over reboots, and the whole is JSON."""

from __future__ import annotations

import json

from fake_vcpu import FakeBoard, FakeVcpu

from ringfence.core.exits import Reason
from ringfence.metrics import VcpuMetrics
from ringfence.vmm import report
from ringfence.vmm.outcome import Kind, Outcome


def board(runs: int) -> FakeBoard:
    vcpu = FakeVcpu()
    vcpu.runs = runs
    made = FakeBoard(vcpu)
    made.pio.read(0x99, 1)
    made.devices = {"disk0": {"read_bytes": 512 * runs, "errors": 0}, "rng": {}}
    return made


def test_a_reboot_adds_to_what_was_counted() -> None:
    totals = report.Totals()
    totals.add(board(runs=2))
    now = totals.copy()
    now.add(board(runs=3))
    metrics = VcpuMetrics(guest_ns=5_000)
    metrics.exits[Reason.IO] = 7
    network, agent = {"network_denied": 4}, {"requests": 9}
    made = report.make(now, [metrics], Outcome(Kind.DEBUG_EXIT, 5), 1, network, agent)
    assert json.loads(json.dumps(made)) == made
    (vcpu,) = made["vcpus"]
    assert vcpu["instructions"] == 50
    assert vcpu["mips"] == 10.0
    assert vcpu["exits"] == {"IO": 7}
    assert vcpu["interrupts"] == {"0x20": 2}
    assert vcpu["counters"]["tlb_misses"] == 5
    assert made["unclaimed"] == [{"bus": "pio", "address": 0x99, "is_write": False, "count": 2}]
    assert made["devices"] == {"disk0": {"read_bytes": 5 * 512}}, "what has counted nothing is left out"
    assert (made["network"], made["agent"]) == (network, agent)
    assert made["outcome"]["exit_status"] == 11
    assert totals.vcpus[0]["instructions"] == 20, "a look at the report changed the totals"


def test_a_machine_that_has_not_run_has_a_report() -> None:
    totals = report.Totals()
    totals.add(board(runs=0))
    made = report.make(totals, [VcpuMetrics()], None, 0, {}, {})
    assert made["outcome"] is None
    assert made["vcpus"][0]["mips"] == 0
    assert made["devices"] == made["network"] == {}
