"""The host code of a thunk: SDM vol. 2, chapters 2 and 3 (the encodings written here).

The guest's instruction appears re-encoded with fixed registers: xmm1 or mm1 is its destination,
xmm2 or mm2 its source, rax its general register. Only registers that the System V ABI lets a callee
change are used; the guest's MXCSR or x87 state is on only around the one instruction.
"""

import cython
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.x86.thunk_emit import (
    FLAGS,
    FLOAT,
    FPU,
    FPU_FLAGS,
    FPU_MEMORY,
    FROM_2,
    FROM_4,
    FROM_8,
    FROM_16,
    FROM_GPR,
    FROM_MM4,
    FROM_MM8,
    LOAD_MM,
    LOAD_XMM,
    MASK,
    STORE_MM,
    STORE_XMM,
    STRING,
    TO_GPR,
    CodeBytes,
    CodeP,
    OpcodeP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_byte(code: CodeP, value: cython.int) -> cython.void:
    code.data[code.size] = value
    code.size += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put(code: CodeP, data: CodeBytes, size: cython.int) -> cython.void:
    # SAFETY: all pieces of all shapes together are shorter than the array
    memcpy(cython.address(code.data[code.size]), data, size)
    code.size += size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_opcode(code: CodeP, op: OpcodeP, modrm: cython.int) -> cython.void:
    """The guest's instruction with this ModRM byte."""
    if op.prefix != 0:
        put_byte(code, op.prefix)
    if op.wide:
        put_byte(code, 0x48)
    if op.map != 0:
        put_byte(code, 0x0F)
    if op.map == 2:
        put_byte(code, 0x38)
    elif op.map == 3:
        put_byte(code, 0x3A)
    put_byte(code, op.opcode)
    put_byte(code, modrm)
    if op.imm >= 0:
        put_byte(code, op.imm)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emit_fpu(code: CodeP, shape: cython.int, op: OpcodeP) -> cython.void:
    """FXRSTOR does not raise what is pending in the image, and FXSAVE does not either: an exception
    that the guest has unmasked ends up in the saved status word."""
    put(code, b"\x0f\xae\x5c\x24\xf8", 5)  # stmxcsr [rsp-8]
    put(code, b"\x48\x0f\xae\x0f", 4)  # fxrstor64 [rdi]
    if shape & FPU_FLAGS:
        put(code, b"\x89\xf0\x9e", 3)  # mov eax, esi; sahf
    if shape & FPU_MEMORY:
        put_opcode(code, op, op.digit << 3 | 6)  # [rsi]
    else:
        put_opcode(code, op, op.modrm)
    if shape & FPU_FLAGS:
        put(code, b"\x9f\x25\x00\xff\x00\x00", 6)  # lahf; and eax, 0xff00
    put(code, b"\x48\x0f\xae\x02", 4)  # fxsave64 [rdx]
    put(code, b"\xdb\xe3", 2)  # fninit
    put(code, b"\x0f\xae\x54\x24\xf8\xc3", 6)  # ldmxcsr [rsp-8]; ret


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_loads(code: CodeP, shape: cython.int) -> cython.void:
    if shape & LOAD_XMM:
        put(code, b"\x0f\x10\x0f", 3)  # movups xmm1, [rdi]
    if shape & LOAD_MM:
        put(code, b"\x0f\x6f\x0f", 3)  # movq mm1, [rdi]
    if shape & FROM_16:
        put(code, b"\x0f\x10\x16", 3)  # movups xmm2, [rsi]
    if shape & FROM_8:
        put(code, b"\xf3\x0f\x7e\x16", 4)  # movq xmm2, [rsi]
    if shape & FROM_4:
        put(code, b"\x66\x0f\x6e\x16", 4)  # movd xmm2, [rsi]
    if shape & FROM_2:
        put(code, b"\x0f\xb7\x06", 3)  # movzx eax, word [rsi]
        put(code, b"\x66\x0f\x6e\xd0", 4)  # movd xmm2, eax
    if shape & FROM_MM8:
        put(code, b"\x0f\x6f\x16", 3)  # movq mm2, [rsi]
    if shape & FROM_MM4:
        put(code, b"\x0f\x6e\x16", 3)  # movd mm2, [rsi]
    if shape & FROM_GPR:
        put(code, b"\x48\x8b\x06", 3)  # mov rax, [rsi]
    if shape & MASK:
        put(code, b"\x0f\x10\x02", 3)  # movups xmm0, [rdx]
    if shape & STRING:
        put(code, b"\x49\x89\xd0", 3)  # mov r8, rdx
        put(code, b"\x49\x8b\x00", 3)  # mov rax, [r8]
        put(code, b"\x49\x8b\x50\x08", 4)  # mov rdx, [r8 + 8]
    if shape & FLOAT:
        put(code, b"\x0f\xae\x5c\x24\xf8", 5)  # stmxcsr [rsp - 8]
        put(code, b"\x0f\xae\x12", 3)  # ldmxcsr [rdx]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_stores(code: CodeP, shape: cython.int) -> cython.void:
    if shape & FLAGS:
        put(code, b"\x9f\x0f\x90\xc0", 4)  # lahf; seto al
        put(code, b"\x0f\xb7\xc0", 3)  # movzx eax, ax
    if shape & FLOAT:
        put(code, b"\x0f\xae\x1a", 3)  # stmxcsr [rdx]
        put(code, b"\x0f\xae\x54\x24\xf8", 5)  # ldmxcsr [rsp - 8]
    if shape & STRING:
        put(code, b"\x49\x89\x48\x10", 4)  # mov [r8 + 16], rcx
        put(code, b"\x41\x0f\x11\x40\x20", 5)  # movups [r8 + 32], xmm0
    if shape & STORE_XMM:
        put(code, b"\x0f\x11\x0f", 3)  # movups [rdi], xmm1
    if shape & STORE_MM:
        put(code, b"\x0f\x7f\x0f", 3)  # movq [rdi], mm1
    if shape & (LOAD_MM | STORE_MM | FROM_MM8 | FROM_MM4):
        put(code, b"\x0f\x77", 2)  # emms
    put(code, b"\xc3", 1)  # ret


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emit_thunk(code: CodeP, shape: cython.int, op: OpcodeP) -> cython.void:
    code.size = 0
    if shape & FPU:
        emit_fpu(code, shape, op)
        return
    put_loads(code, shape)
    if op.digit >= 0:
        put_opcode(code, op, 0xC1 | op.digit << 3)
    else:
        destination: cython.int = 0 if shape & TO_GPR else 1
        source: cython.int = 0 if shape & FROM_GPR else 2
        put_opcode(code, op, 0xC0 | destination << 3 | source)
    put_stores(code, shape)
