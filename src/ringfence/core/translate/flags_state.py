"""Guest flags live in the host's; where host code of our own would destroy them they are put by.

SDM vol. 1, 3.4.3.1. LAHF and SETO read them all in two instructions; ADD AL, 127 and SAHF bring them
back: 127 + 1 overflows, 127 + 0 does not. A guest's flags that nothing will read are not kept.
"""

import cython
from cython.cimports.ringfence.core.translate.builder import FLAGS_BOTH, FLAGS_IN_HOST, FLAGS_SAVED, BuilderP
from cython.cimports.ringfence.core.translate.encode import (
    FORM_66,
    EmitterP,
    Operand,
    absolute,
    put8,
    put_load,
    put_move,
    put_op,
    put_store,
)
from cython.cimports.ringfence.core.translate.lowering import FLAG_C
from cython.cimports.ringfence.core.x86.state import RAX


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_flags(b: BuilderP, live: cython.int) -> cython.void:
    e: EmitterP = cython.address(b.e)
    saved: Operand = absolute(cython.address(b.cpu.saved_flags))
    if live == 0 or b.flags != FLAGS_IN_HOST:
        return
    put_move(e, b.s0, RAX)
    put8(e, 0x9F)  # lahf
    put8(e, 0x0F)  # seto al
    put8(e, 0x90)
    put8(e, 0xC0)
    put_op(e, FORM_66, 0x89, RAX, cython.address(saved))
    put_move(e, RAX, b.s0)
    b.flags = FLAGS_BOTH


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_flags(b: BuilderP, needed: cython.int, kept: cython.int) -> cython.void:
    """``needed`` are read by the coming instruction, ``kept`` must come through it unchanged; the
    caller sets `b.flags` to FLAGS_IN_HOST when that changes any."""
    e: EmitterP = cython.address(b.e)
    saved: Operand = absolute(cython.address(b.cpu.saved_flags))
    if (needed | kept) == 0 or b.flags != FLAGS_SAVED:
        return
    if (needed | kept) & ~FLAG_C == 0:
        # bt word [saved_flags], 8; the others are still only saved
        put_op(e, FORM_66, 0x1BA, 4, cython.address(saved))
        put8(e, 8)
    else:
        put_store(e, RAX, cython.address(b.cpu.spare[1]))
        put_op(e, 0, 0x1B7, RAX, cython.address(saved))  # movzx: as wide as it was stored
        put8(e, 0x04)  # add al, 127
        put8(e, 0x7F)
        put8(e, 0x9E)  # sahf
        put_load(e, RAX, cython.address(b.cpu.spare[1]))
        b.flags = FLAGS_BOTH
