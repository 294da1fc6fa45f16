"""What the translator counts of each row of the tables: the instructions translated and called out for."""

from __future__ import annotations

import pytest
from rig import CODE, STACK0, Rig
from translated_code import translating_rig

from ringfence.core.x86._gen_rows import ROWS

TURNS = 100
#: again: cld; pop rax; mov [rbx],rax; cli; dec rcx; jnz again; hlt
LOOP = bytes.fromhex("fc58488903fa48ffc975f5f4")


def rows_of(rig: Rig) -> dict[str, dict[str, int]]:
    """By mnemonic."""
    counts = rig.cpu.counters()["rows"]
    return {ROWS[row].mnemonic: found for row, found in counts.items()}


def run_loop(rig: Rig) -> dict[str, dict[str, int]]:
    rig.load(LOOP)
    rig.regs.rcx, rig.regs.rbx, rig.regs.rsp = TURNS, STACK0, STACK0 - 0x1000
    rig.go_on()
    assert rig.regs.rip == CODE + len(LOOP)
    return rows_of(rig)


def test_call_outs_are_counted_exactly() -> None:
    rig = translating_rig()
    rows = run_loop(rig)
    counters = rig.cpu.counters()
    called = sum(row.get(name, 0) for row in rows.values() for name in ("missed", "emulated", "exited"))
    assert rows["cld"]["emulated"] == TURNS and "exited" not in rows["cld"]
    assert rows["hlt"]["exited"] == 1
    assert "emulated" not in rows["cli"] and "emulated" not in rows["mov"]
    # all but the first turn, which the interpreter takes, and what was called out for
    assert counters["instructions"] == 6 * TURNS + 1
    assert counters["instructions_in_place"] == counters["instructions"] - called


def test_translated_instructions_are_counted_by_class() -> None:
    rows = run_loop(translating_rig())
    assert rows["mov"]["copy"] == rows["cld"]["emulate"] == rows["hlt"]["exit"] == 1
    assert rows["cli"]["rewrite"] == rows["jnz"]["rewrite"] == rows["pop"]["rewrite"] == 1
    assert not {"copy", "rewrite"} & rows["hlt"].keys()


def test_a_fault_counts_what_was_done_before_it() -> None:
    rig = translating_rig()
    rig.load(bytes.fromhex("909090488b03f4"))  # nop; nop; nop; mov rax,[rbx]; hlt
    rig.regs.rbx = 1 << 40
    rig.go_on()
    counters = rig.cpu.counters()
    assert rig.vector == 14
    assert counters["instructions_in_place"] == 3


def test_one_call_out_in_64_is_timed() -> None:
    rig = translating_rig()
    run_loop(rig)
    counters = rig.cpu.counters()
    times = counters["callouts_interpret"] + counters["callouts_leave"]
    times += counters["callouts_memory"] + counters["probe_refills"]
    kinds = ("memory", "interpret", "leave")
    assert sum(counters[f"callouts_{kind}_sampled"] for kind in kinds) == times >> 6 == 1
    assert counters["callouts_interpret_sampled_ns"] < 10_000_000


@pytest.mark.parametrize("engine", ["interpret", "translate"])
def test_before_anything_ran_there_are_no_rows(engine: str) -> None:
    assert Rig("long", engine=engine).cpu.counters()["rows"] == {}
