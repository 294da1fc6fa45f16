"""Translated code to look at: a rig's processor that translates whatever it runs, at once."""

from __future__ import annotations

import gc

from rig import CODE, Rig

from ringfence.api.translations import Translation, Translations


def translating_rig(mode: str = "long") -> Rig:
    """One whose processor translates each block when it first runs."""
    # a processor and its views know one another, and memory below 2 GiB is scarce
    gc.collect()
    rig = Rig(mode)
    rig.cpu.engine = "translate"
    rig.cpu.tune_translator(1)
    return rig


def translate(code: str, mode: str = "long", **registers: int) -> tuple[Translations, Translation]:
    """Run code, given in hexadecimal, until it halts: all translated blocks, and the one it starts with."""
    rig = translating_rig(mode)
    rig.load(bytes.fromhex(code))
    for name, value in registers.items():
        setattr(rig.regs, name, value)
    rig.go_on()
    found = rig.cpu.translations()
    assert found is not None
    return found, next(block for block in found.blocks if block.rip == CODE and not block.is_twin)
