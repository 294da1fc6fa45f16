"""The verifier passes what the translator makes, and refuses each way in which that could go wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from damage import address, branch, overlay, reasons, retarget, steps, swap
from hypothesis import given
from hypothesis import strategies as st
from rig import STACK0
from translated_code import translate

from ringfence.api.translations import Translation, Translations
from ringfence.inspection.effects import Step, decode
from ringfence.inspection.verifier import verify

#: mov rax,[rbx+8]; mov [rbx+rcx*4],rax; mov rdx,[0x30000]; dec rsi; jnz on; hlt; on: jmp rdi
CODE = "488b43084889048b488b1425000003004 8ffce7501f4ffe7".replace(" ", "")
#: again: mov rax,[rbx]; add [rbx+8],rax; mov [rbx+rdx*8],rcx; dec rcx; jnz again; hlt
HOT = "488b0348014308 48890cd3 48ffc975f0f4".replace(" ", "")
#: again: jmp on; on: dec rcx; jnz again; hlt
LOOP = "eb0048ffc975f9f4"
READ_LIMIT, MASK = bytes.fromhex("f80f0000"), bytes.fromhex("e07f0000")


@pytest.fixture(scope="module")
def made() -> tuple[Translations, Translation]:
    return translate(CODE, rbx=STACK0, rcx=1, rsi=2, rdi=0x8018)


def test_what_the_translator_makes_passes(made: tuple[Translations, Translation]) -> None:
    found, block = made
    assert len(block.host) > 100 and len(block.sites) >= 3
    assert not list(verify(found))


@pytest.mark.parametrize("mode", ["long", "protected"])
@pytest.mark.parametrize(
    "code",
    [
        LOOP,
        "5053415455ff74240858595d415c58f4",  # pushes and pops
        "480faf0325ff000000f4",  # imul rax,[rbx]; and eax,255
        "f7f948f7f1f4",  # divisions
        "9c9d0fa20f31f4",  # instructions that are called out for
        "0f280366480f6ec866420f7ec9f30f6f03f4",  # vectors
        "c8100000c9f4",  # enter, leave
        "8a0348ffc38a0b48ffcb8a13f4",  # one window over inc and dec of its base
    ],
)
def test_other_code_passes(code: str, mode: str) -> None:
    found, _ = translate(code, mode, rbx=STACK0, rcx=3, rdx=0, rax=9)
    assert not list(verify(found))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("0f05", "host's own state"),  # syscall
        ("cc", "stack"),
        ("50", "stack"),  # push rax
        ("c3", "stack"),
        ("ffd0", "stack"),  # call rax
        ("0f0b", "stack"),  # ud2
        ("fa", "host's own state"),  # cli
        ("fd", "host's own state"),  # std
        ("f3480faec0", "host's own state"),  # rdfsbase
        ("0f01d0", "host's own state"),  # xgetbv
        ("8ee0", "segment register"),  # mov fs,eax
        ("64488b042500000000", "segment base"),  # mov rax,fs:[0]
        ("a4", "of its own"),  # movsb
        ("480fa303", "any length"),  # bt [rbx],rax
        ("488b03", "no TLB entry"),  # mov rax,[rbx]
        ("488b042500100000", "no TLB entry"),  # mov rax,[0x1000]
        ("488b0500000000", "where the code is"),  # mov rax,[rip]
        ("678b03", "another form"),  # mov eax,[ebx]
        ("0fae1424", "host's own state"),  # ldmxcsr [rsp]
        ("ff20", "no TLB entry"),  # jmp [rax]
        ("ffe0", "jump cache"),  # jmp rax
        ("06", "not an instruction"),
    ],
)
def test_a_forbidden_instruction(code: str, reason: str, made: tuple[Translations, Translation]) -> None:
    found, block = made
    wrong = reasons(found, overlay(block, block.entry, bytes.fromhex(code)))
    assert wrong and reason in wrong[0]


@pytest.fixture(scope="module")
def hot() -> tuple[Translations, Translation]:
    found, block = translate(HOT, rbx=STACK0, rcx=3_000_000, rdx=600)
    assert block.is_hot and any(site.slot for site in block.sites)
    return found, block


def test_slots_pass(hot: tuple[Translations, Translation]) -> None:
    assert not list(verify(hot[0]))


def test_a_twin_passes() -> None:
    # mov rax,[rbx]; mov rcx,[rbx+8] across a page's end, again and again
    found, _ = translate("488b03488b4b0848ffca75f4f4", rbx=STACK0 - 8, rdx=200)
    twin = next(block for block in found.blocks if block.is_twin)
    assert len(twin.ways_in) == twin.count and not list(verify(found))
    assert "no instruction's start" in reasons(found, replace(twin, starts=(twin.entry + 1,)))[0]


def slot_stores(found: Translations, block: Translation) -> list[Step]:
    """What writes the first slot's addend, page and tag, in this order."""
    slot = next(site.slot for site in block.sites if site.slot)
    _, tag, addend, page, *_ = found.layout.slot
    stores = {s.code[-4:]: s for s in steps(block, lambda s: s.effect.name == "mov" and s.code[1] == 0x89)}
    return [stores[address(slot + at)] for at in (addend, page, tag)]


def test_a_slot_is_written_whole(hot: tuple[Translations, Translation]) -> None:
    found, block = hot
    for store in slot_stores(found, block)[1:]:
        wrong = reasons(found, overlay(block, store.position, b"\x90"))
        assert any("slot" in reason for reason in wrong), wrong


def test_a_slot_is_given_only_what_was_compared(hot: tuple[Translations, Translation]) -> None:
    found, block = hot
    first = slot_stores(found, block)[0]
    above = [s for s in decode(block.host, block.entry) if s.position < first.position]
    branch_above = [s for s in above if s.effect.flow == "branch" and s.effect.condition == 7][-1]
    assert "not compared" in reasons(found, overlay(block, branch_above.position, b"\x90"))[0]
    wrong = reasons(found, overlay(block, above[-1].position, bytes.fromhex("4989c0")))
    assert "not compared" in wrong[0]


def test_a_slot_of_reads_is_not_written_through(hot: tuple[Translations, Translation]) -> None:
    found, block = hot
    for number, site in enumerate(block.sites):
        if site.slot and site.is_write:
            sites = list(block.sites)
            sites[number] = replace(site, is_write=False)
            assert "TLB for reads" in reasons(found, replace(block, sites=tuple(sites)))[0]


def test_the_list_of_slots(hot: tuple[Translations, Translation]) -> None:
    found, block = hot
    slot = next(site.slot for site in block.sites if site.slot)
    limit = steps(
        block, lambda s: s.effect.name == "cmp" and s.code.endswith(address(found.layout.slot_limit))
    )[0]
    more = address(found.layout.slot_limit + 1)
    wrong = reasons(found, overlay(block, limit.position, limit.code[:-4] + more))
    assert any("no TLB entry" in reason for reason in wrong) and any("grow" in reason for reason in wrong)
    listing = steps(block, lambda s: s.code.endswith(address(slot)) and s.effect.accesses[0].scale == 4)[0]
    wrong = reasons(found, overlay(block, listing.position, listing.code[:-4] + address(slot + 8)))
    assert "something else" in wrong[0]
    count = steps(
        block,
        lambda s: (
            (s.effect.address is not None and s.effect.bits == 32)
            and s.effect.address.base == s.effect.operands[0].value
        ),
    )[0]
    assert "grow" in reasons(found, overlay(block, count.position, count.code[:-1] + b"\x02"))[0]


def test_a_write_to_the_rest_of_the_context(made: tuple[Translations, Translation]) -> None:
    found, block = made
    start, end = found.layout.context
    for at, reason in ((start, "no business"), (end - 8, "no business"), (end - 4, "no TLB entry")):
        wrong = reasons(found, overlay(block, block.entry, bytes.fromhex("48890425") + address(at)))
        assert wrong and reason in wrong[0]
    site = next(field.address for field in found.layout.fields if field.name == "site")
    allowed = reasons(found, overlay(block, block.entry, bytes.fromhex("48890425") + address(site)))
    assert not any("no business" in reason for reason in allowed)


def test_a_wider_index(made: tuple[Translations, Translation]) -> None:
    found, block = made
    assert "no TLB entry" in reasons(found, swap(block, MASK, bytes.fromhex("e0ff0000")))[0]


def test_another_index(made: tuple[Translations, Translation]) -> None:
    found, block = made
    rorx = steps(block, lambda s: s.effect.name == "rorx")[0]
    wrong = reasons(found, overlay(block, rorx.position, rorx.code[:-1] + b"\x08"))
    assert "not compared" in wrong[0]


def test_a_larger_limit(made: tuple[Translations, Translation]) -> None:
    found, block = made
    assert "run out of its page" in reasons(found, swap(block, READ_LIMIT, bytes.fromhex("f90f0000")))[0]
    assert not reasons(found, swap(block, READ_LIMIT, bytes.fromhex("f70f0000")))


def test_a_branch_that_is_not_there(made: tuple[Translations, Translation]) -> None:
    found, block = made
    for condition in (7, 5):
        at = branch(block, condition).position
        assert "not compared" in reasons(found, overlay(block, at, b"\x90"))[0]


def test_another_constant_page(made: tuple[Translations, Translation]) -> None:
    found, block = made
    compare = steps(block, lambda s: s.effect.name == "cmp" and s.code.endswith(address(0x30000)))[0]
    wrong = reasons(found, overlay(block, compare.position, compare.code[:-4] + address(0x31000)))
    assert "not compared" in wrong[0]


def test_a_write_by_the_tlb_for_reads(made: tuple[Translations, Translation]) -> None:
    found, block = made
    arrays = {array.name: array.address for array in found.layout.tlbs}
    for offset in found.layout.tlb_entry[1:3]:
        write, read = arrays["tlb.supervisor.write"] + offset, arrays["tlb.supervisor.read"] + offset
        if address(write) in block.host:
            block = swap(block, address(write), address(read))
    page = arrays["tlb.supervisor.write"] + found.layout.tlb_entry[3]
    block = swap(block, address(page), address(arrays["tlb.supervisor.read"] + found.layout.tlb_entry[3]))
    assert "TLB for reads" in reasons(found, block)[0]


def test_another_view(made: tuple[Translations, Translation]) -> None:
    found, block = made
    assert "another view" in reasons(found, replace(block, view=1))[0]


def test_a_way_into_the_middle_of_a_proof(made: tuple[Translations, Translation]) -> None:
    found, block = made
    access = steps(block, lambda s: any(m.base >= 0 and m.index >= 0 for m in s.effect.accesses))[-1]
    wrong = reasons(found, retarget(block, branch(block, 7), access.position))
    assert "no TLB entry" in wrong[0]


def test_jumps_that_go_astray(made: tuple[Translations, Translation]) -> None:
    found, block = made
    miss = branch(block, 7)
    assert "no instruction's start" in reasons(found, retarget(block, miss, miss.target + 1))[0]
    callout = steps(block, lambda s: s.target == found.layout.callouts[block.map])[0]
    for target in (callout.target + 1, block.entry - 16, block.end):
        assert "no way in" in reasons(found, retarget(block, callout, target))[0]


def test_a_record_that_is_not_its_own(made: tuple[Translations, Translation]) -> None:
    found, block = made
    wrong = reasons(found, swap(block, address(block.sites[0].address), address(block.sites[0].address + 16)))
    assert "told no record" in wrong[0]
    wrong = reasons(found, swap(block, address(block.sites[0].address), address(block.exits[0].address)))
    assert "told no record" in wrong[0]


def test_the_jump_cache(made: tuple[Translations, Translation]) -> None:
    found, _ = made
    block = next(block for block in found.blocks if any(site.kind == "indirect" for site in block.sites))
    jump = steps(block, lambda s: s.effect.flow == "indirect")[-1]
    wrong = reasons(found, overlay(block, branch(block, 5, -1).position, b"\x90"))
    assert "jump cache" in wrong[0]
    host = int.from_bytes(jump.code[-4:], "little")
    assert reasons(found, overlay(block, jump.position, jump.code[:-4] + address(host + 16)))
    # the guest's upper address bits must not meet the key
    key = steps(block, lambda s: s.effect.name == "shl" and s.effect.bits == 64)[-1]
    assert "jump cache" in reasons(found, overlay(block, key.position, b"\x90"))[0]
    shift = steps(block, lambda s: s.effect.name == "shr")[-1]
    assert "jump cache" in reasons(found, overlay(block, shift.position, shift.code[:-1] + b"\x0d"))[0]


def test_links() -> None:
    found, block = translate(LOOP, rcx=50)
    exit = next(exit for exit in block.exits if exit.target)
    assert not list(verify(found))
    field = next(step for step in decode(block.host, block.entry) if step.end - 4 == exit.field)
    assert "elsewhere" in reasons(found, retarget(block, field, field.target + 1))[0]
    gone = replace(exit, target=exit.target + 1)
    exits = tuple(gone if other is exit else other for other in block.exits)
    assert "gone" in reasons(found, replace(block, exits=exits))[0]


def test_code_that_does_not_end(made: tuple[Translations, Translation]) -> None:
    found, block = made
    last = list(decode(block.host, block.entry))[-1]
    short = replace(block, host=block.host[: last.position - block.entry])
    assert any("past its end" in reason for reason in reasons(found, short))
    assert any("past its end" in reason for reason in reasons(found, replace(block, host=b"")))


def test_a_way_back_that_is_no_instruction(made: tuple[Translations, Translation]) -> None:
    found, block = made
    site = replace(block.sites[0], retry=block.sites[0].retry + 1)
    assert "no instruction's start" in reasons(found, replace(block, sites=(site, *block.sites[1:])))[0]


@given(data=st.data())
def test_nothing_makes_the_verifier_fail(data: st.DataObject, made: tuple[Translations, Translation]) -> None:
    found, block = made
    at = data.draw(st.integers(0, len(block.host) - 1))
    code = data.draw(st.binary(min_size=1, max_size=12))
    host = (block.host[:at] + code + block.host[at + len(code) :])[: len(block.host)]
    reasons(found, replace(block, host=host))
