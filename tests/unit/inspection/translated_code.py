"""Translated code to look at: a rig's processor that translates whatever it runs, at once."""

from __future__ import annotations

from rig import CODE, Rig

from ringfence.api.translations import Translation, Translations


def translate(code: str, mode: str = "long", **registers: int) -> tuple[Translations, Translation]:
    """Run code, given in hexadecimal, until it halts: all translated blocks, and the one it starts with."""
    rig = Rig(mode)
    rig.cpu.engine = "translate"
    rig.cpu.tune_translator(1)
    rig.load(bytes.fromhex(code))
    for name, value in registers.items():
        setattr(rig.regs, name, value)
    rig.go_on()
    found = rig.cpu.translations()
    assert found is not None
    return found, next(block for block in found.blocks if block.rip == CODE and not block.is_twin)
