"""DIV and IDIV on the host, where they can't trap: SDM vol. 2.

An unsigned quotient fits exactly when the dividend's high half is below the divisor. A signed one
fits for sure when the high half is only the low half's sign and the divisor is neither 0 nor -1.
Everything else is interpreted, which raises #DE as it must. The flags are undefined afterwards; they stay as
they were, as the interpreter has it.
"""

import cython
from cython.cimports.ringfence.core.translate.builder import FLAGS_SAVED, BuilderP
from cython.cimports.ringfence.core.translate.encode import (
    CC_AE,
    CC_NE,
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    put8,
    put_forward_branch,
    put_lea,
    put_op,
    put_rr,
    register_operand,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.lowering import KIND_DIVIDE, LoweringP
from cython.cimports.ringfence.core.translate.operand import load_in_place
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe
from cython.cimports.ringfence.core.translate.sites import later_site, new_site
from cython.cimports.ringfence.core.translate.translation import SITE_INTERPRET, SiteP
from cython.cimports.ringfence.core.translate.windows import has_open_window
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, RAX, RDX, InstrP

CC_BE = cython.declare(cython.int, 6)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_divide(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    form: cython.int = FORM_W if i.width == 3 else 0
    divisor: cython.int
    source: Operand
    site: SiteP
    if i.width < 2 or (i.attr & INSTR_MEMORY and not can_probe(b)):
        return False
    save_flags(b, b.live_in[b.index])
    if i.attr & INSTR_MEMORY:
        source = put_probe(b, 1 << i.width, 0, 0)
        put_op(e, form, 0x8B, b.s0, cython.address(source))
        divisor = b.s0
    else:
        divisor = load_in_place(b, i.rm, low.rm, False, b.s0)
    b.flags = FLAGS_SAVED
    site = new_site(b, SITE_INTERPRET)
    site.may_resume = site.may_resume and not has_open_window(b)
    if low.kind == KIND_DIVIDE:
        put_rr(e, form, 0x3B, RDX, divisor)
        later_site(b, put_forward_branch(e, CC_AE), site)
    else:
        b.is_s1_used = 1
        put_rr(e, form, 0x89, RAX, b.s1)
        put_rr(e, form, 0xC1, 7, b.s1)  # sar
        put8(e, 63 if form else 31)
        put_rr(e, form, 0x3B, b.s1, RDX)
        later_site(b, put_forward_branch(e, CC_NE), site)
        put_lea(e, form, b.s1, divisor, NO_REG, 0, 1)
        put_rr(e, form, 0x83, 7, b.s1)
        put8(e, 1)
        later_site(b, put_forward_branch(e, CC_BE), site)
    source = register_operand(divisor)
    put_op(e, form, 0xF7, 6 if low.kind == KIND_DIVIDE else 7, cython.address(source))
    return True
