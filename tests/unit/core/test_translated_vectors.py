"""The guest's x87 and vector registers over call-outs of translated code, and where one ends in a fault."""

from __future__ import annotations

import pytest
from rig import HANDLERS, Rig

DATA, IMAGE, MISSING = 0x100000, 0x60000, 0x180000
FXSAVE = bytes.fromhex("0fae06f4")  # fxsave [rsi]; hlt
CODE = (
    "dbe3 d9eb d9e8"  # fninit; fldpi; fld1
    "66480f6ec7 660f6cc0 440f28f8"  # movq xmm0,rdi; punpcklqdq xmm0,xmm0; movaps xmm15,xmm0
    "440f297b10 660ffec8"  # again: movaps [rbx+16],xmm15; paddd xmm1,xmm0
    "dec1 d9e8"  # faddp st1,st0; fld1
    "90 4881c300100000"  # nop; add rbx,4096
    "ffc9 75e7"  # dec ecx; jnz again
    "0fa2 0f28d0 0fae06 f4"  # cpuid; movaps xmm2,xmm0; fxsave [rsi]; hlt
).replace(" ", "")


def image(engine: str, model: str, pages: int) -> bytes:
    """What FXSAVE writes after ``pages`` pages have been written to, or at the page fault before that."""
    rig = Rig("long", model, engine)
    rig.cpu.tune_translator(1)
    rig.regs.cr4 = 0x620
    rig.memory.write(HANDLERS + 16 * 14, FXSAVE)
    rig.set_page(MISSING, 0)
    rig.regs.rbx, rig.regs.rsi, rig.regs.rdi, rig.regs.rcx = DATA, IMAGE, 0x1122334455667788, pages
    rig.run(CODE)
    found = bytearray(rig.memory.read(IMAGE, 416))
    # the x87 pointers are not kept: docs/design/translator.md
    found[6:24] = bytes(18)
    return bytes(found)


@pytest.mark.parametrize("model", ["x86-64-v2", "max"])
@pytest.mark.parametrize("pages", [3, 100, 0xFFF])
def test_what_is_left_in_the_registers(model: str, pages: int) -> None:
    found = image("translate", model, pages)
    assert any(found[160:176])
    assert found == image("interpret", model, pages)
