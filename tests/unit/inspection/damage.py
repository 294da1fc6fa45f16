"""What a broken translator would have made: a block with some of its code changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ringfence.api.translations import Translation, Translations
from ringfence.inspection.effects import Step, decode
from ringfence.inspection.verifier import verify


def reasons(found: Translations, block: Translation) -> list[str]:
    """What is wrong with ``block`` in the place of the one that was made."""
    blocks = tuple(block if block.entry == other.entry else other for other in found.blocks)
    return [v.reason for v in verify(replace(found, blocks=blocks)) if v.rip == block.rip]


def overlay(block: Translation, position: int, code: bytes) -> Translation:
    """``code`` over the instructions from ``position`` on; no-operations to the next one's start."""
    end = next(s.position for s in decode(block.host, block.entry) if s.position >= position + len(code))
    padded = code + b"\x90" * (end - position - len(code))
    at = position - block.entry
    return replace(block, host=block.host[:at] + padded + block.host[at + len(padded) :])


def steps(block: Translation, wanted: Callable[[Step], bool]) -> list[Step]:
    found = [step for step in decode(block.host, block.entry) if wanted(step)]
    assert found
    return found


def swap(block: Translation, old: bytes, new: bytes) -> Translation:
    """The first ``old`` of the host's code becomes ``new``."""
    assert old in block.host and len(old) == len(new)
    return replace(block, host=block.host.replace(old, new, 1))


def address(value: int) -> bytes:
    return value.to_bytes(4, "little")


def branch(block: Translation, condition: int, nth: int = 0) -> Step:
    return steps(block, lambda s: s.effect.flow == "branch" and s.effect.condition == condition)[nth]


def retarget(block: Translation, step: Step, target: int) -> Translation:
    rel = (target - step.end).to_bytes(4, "little", signed=True)
    return overlay(block, step.position, step.code[:-4] + rel)
