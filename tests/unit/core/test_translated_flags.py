"""The guest's flags on ways between translations."""

from __future__ import annotations

import pytest
from rig import Rig

#: turns: the blocks are translated, and come from one another directly
TURNS = 200


@pytest.mark.parametrize("mode", ["long", "protected"])
def test_what_a_function_returns_in_the_carry_flag(mode: str) -> None:
    """POP probes the stack for RET too, which then has no probe of its own that would put the flags by."""
    rig = Rig(mode, engine="translate")
    rig.cpu.tune_translator(1)
    rig.run(
        f"b9{TURNS.to_bytes(4, 'little').hex()}"  # mov ecx, TURNS
        "31db"  # xor ebx, ebx
        "e80b000000"  # next: call function
        "83d300"  # adc ebx, 0
        "85c9"  # test ecx, ecx
        "7402"  # jz end
        "ebf2"  # jmp next
        "f490"  # end: hlt
        "51"  # function: push rcx
        "59"  # pop rcx
        "83e901"  # sub ecx, 1
        "f9"  # stc
        "c3"  # ret
    )
    assert rig.regs.rbx == TURNS
