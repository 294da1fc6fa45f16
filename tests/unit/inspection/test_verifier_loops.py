"""Counted loops: the verifier passes what the translator makes of them, and refuses a wrong count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from damage import branch, overlay, reasons, retarget, steps
from rig import STACK0
from translated_code import translate

from ringfence.api.translations import Translation, Translations
from ringfence.inspection.effects import Step, decode
from ringfence.inspection.verifier import verify

#: outer: mov rbx,rdi; mov ecx,600; again: mov rax,[rbx]; mov [rbx+8],rax; add rbx,16; dec rcx; jnz again;
#: dec rsi; jnz outer; hlt
COUNTED = "4889fb b958020000 488b03 48894308 4883c310 48ffc9 75f0 48ffce 75e3 f4".replace(" ", "")
#: outer: mov rsi,rdi; mov rcx,rbx; lea rdx,[rcx+600]; again: movzx r8d,[rsi]; cmp r8b,1; mov [rcx],r8b;
#: sbb rsi,-1; add rcx,1; cmp rdx,rcx; jne again; dec rbp; jnz outer; hlt
UNEVEN = "4889fe 4889d9 488d9158020000 440fb606 4180f801 448801 4883deff 4883c101 4839ca 75e8 48ffcd 75d6 f4"


@pytest.fixture(scope="module")
def counted() -> tuple[Translations, Translation]:
    found, _ = translate(COUNTED, rdi=STACK0, rsi=3_000)
    return found, next(block for block in found.blocks if block.is_hot)


def counting(block: Translation) -> list[Step]:
    """Where turns are counted down: before the head, and at the end of each. ``sub r14,1``."""
    return steps(block, lambda s: s.code == bytes.fromhex("4983ee01"))


def test_a_counted_loop_passes(counted: tuple[Translations, Translation]) -> None:
    found, block = counted
    way_in, turn = counting(block)
    inside = steps(block, lambda s: way_in.end < s.position < turn.position)
    assert sum(len(step.effect.accesses) for step in inside) == 2
    assert not [step for step in inside if step.effect.name == "cmp"]
    assert not list(verify(found))


def test_a_counted_loop_that_begins_with_a_probe_passes() -> None:
    """RSI moves by what is read, so its probe is in the loop: where that is tried again is not the head."""
    found, _ = translate(UNEVEN.replace(" ", ""), rdi=STACK0, rbx=STACK0 + 0x2000, rbp=3_000)
    # sub r15,1
    assert any(block.is_hot and block.host.count(bytes.fromhex("4983ef01")) == 2 for block in found.blocks)
    assert not list(verify(found))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("49c1e904", "49c1e903"),  # shr r9,4: twice as many turns
        ("41b9f00f0000", "41b9f80f0000"),  # mov r9d,4096-16: a larger range
        ("4d0f42f1", "4d0f43f1"),  # cmovb: the larger number
        ("4d3bce", "4d3bf1"),  # cmp: likewise
        ("4883c310", "4883c318"),  # add rbx,16: a longer stride
        ("4883c310", "4883eb10"),  # ... and backwards
        ("4181e0ff0f0000", "4181e0ff070000"),  # and r8d,4095: half a page
        ("4c8d43f0", "4c8d43e0"),  # lea r8,[rbx-16]: another place
        ("4983ee01", "4983ee00"),  # sub r14,1: for ever
        ("4983ee01", "4983c601"),  # ... and upwards
        ("4a89441308", "4a89441310"),  # mov [rbx+r10+8],rax: out of the range
        ("4883c310", "4983c610"),  # add rbx,16: on the counter
        ("4883c310", "4983c210"),  # ... on the addend
    ],
)
def test_a_loop_that_is_counted_wrongly(
    old: str, new: str, counted: tuple[Translations, Translation]
) -> None:
    found, block = counted
    # the counted code comes last
    before, _, after = block.host.rpartition(bytes.fromhex(old))
    assert reasons(found, replace(block, host=before + bytes.fromhex(new) + after))


def test_ways_into_a_counted_loop(counted: tuple[Translations, Translation]) -> None:
    found, block = counted
    way_in, turn = counting(block)
    no_turn, again = (branch(block, condition) for condition in (2, 3))
    assert (no_turn.position, again.position) == (way_in.end, turn.end)
    # into it without a count, without looking at it, and past the last turn
    assert reasons(found, retarget(block, branch(block, 8, -1), again.target))
    assert reasons(found, overlay(block, no_turn.position, b"\x90"))
    assert reasons(found, retarget(block, no_turn, again.target))
    last = next(s for s in decode(block.host, block.entry) if s.position == again.end)
    assert reasons(found, retarget(block, last, again.target))
    assert reasons(found, retarget(block, branch(block, 8, -1), turn.end))
