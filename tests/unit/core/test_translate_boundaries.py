"""Between any two instructions an interrupt may come, the VMM may look, and the engine may change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig import MEMORY_BYTES, Rig
from twins import DATA, ENGINES, Start, counter, differences, engine_rig, halt_of, start_program

from ringfence.core.exits import Reason

VECTOR = 0x40
INTERRUPTS = DATA + 0x800
BLOCK_LIMIT = 200


@pytest.fixture(params=["long", "protected"])
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def started(engine: str, mode: str) -> Rig:
    return start_program(engine_rig(engine, mode))


def step(rig: Rig, count: int) -> bool:
    """Run so many instructions; False: it halted before."""
    rig.cpu.set_debug_steps(count)
    return rig.go_on() == Reason.DEBUG


def finish(rig: Rig) -> Rig:
    rig.cpu.set_debug_steps(0)
    rig.cpu.set_deadline_ns(0)
    assert rig.go_on() == Reason.HLT and rig.vector is None
    return rig


def interrupt(rig: Rig) -> bool:
    """An interrupt before the next instruction, if it may come there."""
    if not rig.cpu.is_interruptible:
        return False
    rig.cpu.inject(VECTOR)
    return True


def in_blocks(rig: Rig) -> Iterator[int]:
    """Run translated code, looking on after each block: the number of instructions done so far."""
    rig.cpu.tune_translator(1, True, 0)
    rig.cpu.set_deadline_ns(1)
    while rig.go_on() == Reason.INTERRUPTED and rig.regs.rip != halt_of(rig):
        yield counter(rig, "instructions")


def test_the_whole_program(mode: str) -> None:
    by = {engine: finish(started(engine, mode)) for engine in ENGINES}
    assert not differences(*by.values())
    assert counter(by["interpret"], "instructions") == counter(by["translate"], "instructions") > 150
    assert counter(by["translate"], "translations") > 5
    assert counter(by["translate"], "interpreted_blocks") < 20


def test_an_interrupt_at_every_instruction(mode: str) -> None:
    rigs = [started(engine, mode) for engine in ENGINES]
    starts = [Start(rig) for rig in rigs]
    count = counter(finish(rigs[0]), "instructions")
    taken = 0
    for at in range(1, count):
        for start in starts:
            assert step(start.rewind(), at)
        assert interrupt(rigs[0]) == interrupt(rigs[1])
        finish(rigs[0])
        finish(rigs[1])
        assert not differences(*rigs), at
        taken += rigs[1].memory.read(INTERRUPTS, 1)[0]
    assert count // 2 < taken < count


def test_an_interrupt_after_every_block(mode: str) -> None:
    """The interpreter is stopped at the same count of instructions."""
    interpreting, translating = (started(engine, mode) for engine in ENGINES)
    starts = Start(interpreting), Start(translating)
    for seen in range(BLOCK_LIMIT):
        before = counter(starts[1].rewind(), "instructions")
        count = next((count for k, count in enumerate(in_blocks(translating)) if k == seen), None)
        if count is None:
            break
        assert step(starts[0].rewind(), count - before)
        assert translating.regs.rip == interpreting.regs.rip
        assert interrupt(translating) == interrupt(interpreting)
        finish(translating)
        finish(interpreting)
        assert not differences(interpreting, translating), count
    assert 20 < seen < BLOCK_LIMIT - 1


def test_interrupts_after_all_blocks(mode: str) -> None:
    interpreting, translating = (started(engine, mode) for engine in ENGINES)
    done = 0
    for number, count in enumerate(in_blocks(translating)):
        assert step(interpreting, count - done)
        done = count
        # not after the handler's own block, or nothing else ever runs
        if number % 2 == 0:
            assert interrupt(translating) == interrupt(interpreting)
    finish(interpreting)
    assert not differences(interpreting, translating)
    assert int.from_bytes(translating.memory.read(INTERRUPTS, 4), "little") > 15


@pytest.mark.parametrize("engines", [ENGINES, ENGINES[::-1]])
def test_the_engine_changes_at_every_instruction(mode: str, engines: tuple[str, str]) -> None:
    reference = finish(started("interpret", mode))
    rig = started(engines[0], mode)
    start = Start(rig)
    for at in range(1, counter(reference, "instructions")):
        start.rewind().cpu.engine = engines[0]
        assert step(rig, at)
        rig.cpu.engine = engines[1]
        assert not differences(reference, finish(rig)), at


@pytest.mark.parametrize("turn", [1, 2, 3, 7])
def test_the_engine_changes_again_and_again(mode: str, turn: int) -> None:
    """Some instructions interpreted, then a block translated."""
    reference = finish(started("interpret", mode))
    rig = started("translate", mode)
    rig.cpu.tune_translator(1, True, 0)
    while rig.regs.rip != halt_of(rig):
        is_translated = rig.cpu.engine == "interpret"
        rig.cpu.engine = ENGINES[is_translated]
        rig.cpu.set_debug_steps(0 if is_translated else turn)
        rig.cpu.set_deadline_ns(is_translated)
        assert rig.go_on() in (Reason.HLT, Reason.INTERRUPTED if is_translated else Reason.DEBUG)
    assert not differences(reference, rig)
    assert counter(rig, "translation_entries") > 5


def test_a_saved_state_goes_on_elsewhere(mode: str) -> None:
    """Another processor takes the state up after each block, with nothing translated."""
    reference = finish(started("interpret", mode))
    rig = started("translate", mode)
    for _ in in_blocks(rig):
        other = engine_rig("translate", mode)
        other.memory.write(0, rig.memory.read(0, MEMORY_BYTES))
        other.cpu.restore(rig.cpu.save())
        assert not differences(reference, finish(other))
