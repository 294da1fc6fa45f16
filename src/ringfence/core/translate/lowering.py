"""The translator's view of each row of the instruction tables, as C data: tools/lowering.py makes it."""

import cython
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.translate.lowering import Lowering, LoweringP
from cython.cimports.ringfence.core.x86.decode_table import ENTRY_LIMIT

from ringfence.core.translate._gen_lowering import LOWERINGS

lowerings = cython.declare(Lowering[ENTRY_LIMIT])


def load_table() -> None:
    """Copy the generated table; once, at import."""
    data: bytes = LOWERINGS
    if len(data) > cython.sizeof(lowerings) or len(data) % cython.sizeof(Lowering):
        raise AssertionError("tools/lowering.py and lowering.pxd disagree")
    # SAFETY: the length was just compared with the array
    memcpy(cython.address(lowerings[0]), cython.cast(cython.p_char, data), len(data))


load_table()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lowering_of(entry: cython.int) -> LoweringP:
    return cython.address(lowerings[entry])
