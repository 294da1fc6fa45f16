"""The thunk of a VEX or EVEX instruction: SDM vol. 2, 2.3.5 and 2.7 (the encodings written here).

The instruction appears with fixed registers: number 0 for ModRM.reg, 1 for vvvv, 2 for ModRM.rm and 3
for the one in the immediate, be they vector, opmask or general registers; k1 is its opmask. Each is
loaded from its slot of the frame at rdi, the destination is stored back.
"""

import cython
from cython.cimports.ringfence.core.x86.decode_table import (
    FIELD_RM,
    KIND_GENERAL,
    KIND_MASK,
    KIND_VECTOR,
    NO_TARGET,
)
from cython.cimports.ringfence.core.x86.thunk_emit import CodeP, put, put_byte
from cython.cimports.ringfence.core.x86.thunk_vector import VECTOR_FLAGS, VECTOR_FLOAT, VectorOpcodeP

# offsets in VectorFrame
OPMASK = cython.declare(cython.int, 256)
MXCSR = cython.declare(cython.int, 264)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_frame(code: CodeP, reg: cython.int, offset: cython.int) -> cython.void:
    """ModRM and displacement of [rdi + offset]."""
    put_byte(code, 0x87 | reg << 3)
    put_byte(code, offset & 0xFF)
    put_byte(code, offset >> 8)
    put_byte(code, 0)
    put_byte(code, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_move(code: CodeP, op: VectorOpcodeP, field: cython.int, is_store: cython.bint) -> cython.void:
    """Between a field's register and its slot."""
    kind: cython.int = op.kinds >> 2 * field & 3
    if kind == KIND_VECTOR:
        if op.is_evex:
            put(code, b"\x62\xf1\xfe\x48", 4)  # vmovdqu64 zmm
        else:
            put(code, b"\xc5\xfe", 2)  # vmovdqu ymm
        put_byte(code, 0x7F if is_store else 0x6F)
    elif kind == KIND_MASK:
        put(code, b"\xc4\xe1\xf8", 3)  # kmovq
        put_byte(code, 0x91 if is_store else 0x90)
    elif kind == KIND_GENERAL:
        put_byte(code, 0x48)  # mov, 64 bits
        put_byte(code, 0x89 if is_store else 0x8B)
    else:
        return
    put_frame(code, field, 64 * field)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_prefix(code: CodeP, op: VectorOpcodeP) -> cython.void:
    pp: cython.int = 1 if op.prefix == 0x66 else 2 if op.prefix == 0xF3 else 3 if op.prefix == 0xF2 else 0
    vvvv: cython.int = 14 if op.has_vvvv else 15
    middle: cython.int = op.wide << 7 | vvvv << 3 | pp
    if op.is_evex:
        put_byte(code, 0x62)
        put_byte(code, 0xF0 | op.map)
        put_byte(code, middle | 4)
        put_byte(code, op.zeroing << 7 | op.length << 5 | 8 | op.has_opmask)
    else:
        put_byte(code, 0xC4)
        put_byte(code, 0xE0 | op.map)
        put_byte(code, middle | op.length << 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_instruction(code: CodeP, op: VectorOpcodeP) -> cython.void:
    reg: cython.int = op.digit if op.digit >= 0 else 0
    put_prefix(code, op)
    put_byte(code, op.opcode)
    if op.is_memory:
        put_frame(code, reg, 64 * FIELD_RM)
    else:
        put_byte(code, 0xC0 | reg << 3 | FIELD_RM)
    if op.imm >= 0:
        put_byte(code, op.imm)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emit_vector(code: CodeP, shape: cython.int, op: VectorOpcodeP) -> cython.void:
    field: cython.int
    code.size = 0
    for field in range(4):
        put_move(code, op, field, False)
    if op.has_opmask:
        put(code, b"\xc4\xe1\xf8\x90", 4)  # kmovq k1
        put_frame(code, 1, OPMASK)
    if shape & VECTOR_FLOAT:
        put(code, b"\x0f\xae\x5c\x24\xf8", 5)  # stmxcsr [rsp - 8]
        put(code, b"\x0f\xae", 2)  # ldmxcsr
        put_frame(code, 2, MXCSR)
    put_instruction(code, op)
    if shape & VECTOR_FLAGS:
        put(code, b"\x9f\x0f\x90\xc0", 4)  # lahf; seto al
        put(code, b"\x0f\xb7\xc0", 3)  # movzx eax, ax
    if shape & VECTOR_FLOAT:
        put(code, b"\x0f\xae", 2)  # stmxcsr
        put_frame(code, 3, MXCSR)
        put(code, b"\x0f\xae\x54\x24\xf8", 5)  # ldmxcsr [rsp - 8]
    if op.target != NO_TARGET:
        put_move(code, op, op.target, True)
    put(code, b"\xc5\xf8\x77\xc3", 4)  # vzeroupper; ret
