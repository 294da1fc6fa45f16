"""The thunks of one process: host code that runs one guest instruction over the vCPU's registers.

Guest and host speak the same instruction set, so what x87, MMX and SSE compute is not written out
a second time; thunk_emit says what surrounds the instruction. A thunk is made when first met. There
is at most one for each row, W, vector length and immediate byte (or x87 register number), so their
number is bounded and none is ever freed.
"""

import os

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.exits import EXIT_FAIL
from cython.cimports.ringfence.core.host.code_buffer import (
    append_code,
    open_code_buffer,
    unshare_code_buffer,
)
from cython.cimports.ringfence.core.x86._gen_features import (
    FEATURE_AES,
    FEATURE_AVX,
    FEATURE_AVX2,
    FEATURE_AVX512_BF16,
    FEATURE_AVX512_BITALG,
    FEATURE_AVX512_VBMI2,
    FEATURE_AVX512_VNNI,
    FEATURE_AVX512_VPOPCNTDQ,
    FEATURE_AVX512BW,
    FEATURE_AVX512CD,
    FEATURE_AVX512DQ,
    FEATURE_AVX512F,
    FEATURE_AVX512IFMA,
    FEATURE_AVX512VBMI,
    FEATURE_AVX512VL,
    FEATURE_F16C,
    FEATURE_FMA,
    FEATURE_GFNI,
    FEATURE_PCLMUL,
    FEATURE_SHA,
    FEATURE_SSE3,
    FEATURE_SSE41,
    FEATURE_SSE42,
    FEATURE_SSSE3,
    FEATURE_VAES,
    FEATURE_VPCLMULQDQ,
)
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import FIELD_IMM, EntryInfoP
from cython.cimports.ringfence.core.x86.decode_vector import VEX_ZEROING, vector_length
from cython.cimports.ringfence.core.x86.faults import leave
from cython.cimports.ringfence.core.x86.state import INSTR_REX_W, CpuP, InstrP
from cython.cimports.ringfence.core.x86.thunk import (
    Offsets,
    Thunks,
    __get_cpuid_count,
    clear_lock,
    cpu_pause,
    host_xcr0,
    try_lock,
)
from cython.cimports.ringfence.core.x86.thunk_emit import (
    FPU,
    FPU_MEMORY,
    Code,
    Opcode,
    OpcodeP,
    Thunk,
    emit_thunk,
)
from cython.cimports.ringfence.core.x86.thunk_vector import VectorOpcode, VectorOpcodeP, emit_vector

#: features whose instructions run on the host, though not every x86-64 host has them
HOST_FEATURES = {
    "sse3": FEATURE_SSE3,
    "pclmul": FEATURE_PCLMUL,
    "ssse3": FEATURE_SSSE3,
    "sse41": FEATURE_SSE41,
    "sse42": FEATURE_SSE42,
    "aes": FEATURE_AES,
    "sha": FEATURE_SHA,
    "avx": FEATURE_AVX,
    "f16c": FEATURE_F16C,
    "fma": FEATURE_FMA,
    "avx2": FEATURE_AVX2,
    "avx512f": FEATURE_AVX512F,
    "avx512dq": FEATURE_AVX512DQ,
    "avx512ifma": FEATURE_AVX512IFMA,
    "avx512cd": FEATURE_AVX512CD,
    "avx512bw": FEATURE_AVX512BW,
    "avx512vl": FEATURE_AVX512VL,
    "avx512vbmi": FEATURE_AVX512VBMI,
    "avx512_vbmi2": FEATURE_AVX512_VBMI2,
    "gfni": FEATURE_GFNI,
    "vaes": FEATURE_VAES,
    "vpclmulqdq": FEATURE_VPCLMULQDQ,
    "avx512_vnni": FEATURE_AVX512_VNNI,
    "avx512_bitalg": FEATURE_AVX512_BITALG,
    "avx512_vpopcntdq": FEATURE_AVX512_VPOPCNTDQ,
    "avx512_bf16": FEATURE_AVX512_BF16,
}
#: features that are nothing without the upper halves of YMM registers
AVX_FEATURES = {"avx", "f16c", "fma", "avx2", "vaes", "vpclmulqdq"}
#: what thunks of AVX-512 instructions use themselves
THUNKS_512 = (FEATURE_AVX512F, FEATURE_AVX512BW, FEATURE_AVX512VL)
#: all thunks that there can be, with each value of their immediates, take some 24 MiB
CAPACITY_BYTES = 32 << 20

thunks = cython.declare(Thunks)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_thunks(cpu: CpuP) -> cython.void:
    """Let `cpu` use thunks: once, when it is made."""
    cpu.thunks = thunks.buffer.executable


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def describe(i: InstrP, shape: cython.int, op: OpcodeP) -> cython.int:
    """Fill `op` for the instruction `i`; which of its row's 256 thunks it is."""
    info: EntryInfoP = entry_info(i.entry)
    op.prefix = info.prefix if info.prefix > 1 else 0
    op.map = info.map
    op.opcode = info.opcode
    op.wide = i.attr & INSTR_REX_W != 0
    op.digit = info.digit
    op.modrm = -1
    op.imm = -1
    if shape & FPU:
        op.wide = 0
        if shape & FPU_MEMORY:
            return 0
        op.modrm = info.modrm_exact
        if not info.has_exact:
            op.modrm = 0xC0 | info.digit << 3 | i.modrm & 7
        return op.modrm
    if info.imm_kind:
        op.imm = i.imm & 0xFF
        return op.imm
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def describe_vector(i: InstrP, op: VectorOpcodeP) -> cython.int:
    """Fill `op` for a VEX or EVEX instruction; which of its thunks it is."""
    info: EntryInfoP = entry_info(i.entry)
    op.is_evex = info.vex == 2
    op.prefix = info.prefix if info.prefix > 1 else 0
    op.map = info.map
    op.opcode = info.opcode
    op.wide = i.attr & INSTR_REX_W != 0
    op.length = vector_length(i)
    op.zeroing = i.imm & VEX_ZEROING != 0
    op.has_opmask = info.element != 0
    op.is_memory = info.form == 1
    op.kinds = info.kinds
    op.target = info.target
    op.has_vvvv = info.has_modrm >> 2 & 1
    op.digit = info.digit
    op.imm = i.imm & 0xFF if info.imm_kind else -1
    if info.kinds >> 2 * FIELD_IMM:
        op.imm = FIELD_IMM << 4
    return op.zeroing << 3 | op.length << 1 | op.wide


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def slot_of(entry: cython.int, which: cython.int, variant: cython.int) -> Offsets:
    """Where the offset of a thunk is kept; NULL when there is no memory."""
    place: cython.int = entry << 4 | which
    if thunks.index[place] == cython.NULL:
        thunks.index[place] = cython.cast(Offsets, calloc(256, cython.sizeof(uint32_t)))
        if thunks.index[place] == cython.NULL:
            return cython.NULL
    return thunks.index[place] + variant


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_or_emit(slot: Offsets, shape: cython.int, op: OpcodeP, vector: VectorOpcodeP) -> uint32_t:
    """Offset of a thunk, made if need be; 0 when there is no room. Call it with the lock held."""
    code = cython.declare(Code)
    if slot == cython.NULL:
        return 0
    if slot[0] == 0:
        if op != cython.NULL:
            emit_thunk(cython.address(code), shape, op)
        else:
            emit_vector(cython.address(code), shape, vector)
        slot[0] = append_code(cython.address(thunks.buffer), code.data, code.size)
    return slot[0]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lock_thunks() -> cython.void:
    while try_lock(cython.address(thunks.lock)):
        cpu_pause()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def build_thunk(cpu: CpuP, i: InstrP, shape: cython.int) -> cython.void:
    op = cython.declare(Opcode)
    variant: cython.int = describe(i, shape, cython.address(op))
    lock_thunks()
    i.imm2 = find_or_emit(slot_of(i.entry, op.wide, variant), shape, cython.address(op), cython.NULL)
    clear_lock(cython.address(thunks.lock))
    if i.imm2 == 0:
        leave(cpu, EXIT_FAIL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def build_vector_thunk(cpu: CpuP, i: InstrP, shape: cython.int) -> cython.void:
    op = cython.declare(VectorOpcode)
    which: cython.int = describe_vector(i, cython.address(op))
    lock_thunks()
    i.imm2 = find_or_emit(
        slot_of(i.entry, which, op.imm if op.imm >= 0 else 0), shape, cython.NULL, cython.address(op)
    )
    clear_lock(cython.address(thunks.lock))
    if i.imm2 == 0:
        leave(cpu, EXIT_FAIL)


@cython.cfunc
@cython.exceptval(check=False)
def host_bit(number: cython.int) -> cython.bint:
    """Whether the host and its operating system have one of HOST_FEATURES, by its number."""
    register: cython.uint[4]
    leaf: cython.int = 1 if number < 64 else 7
    which: cython.int = 3 if number < 32 else 2 if number < 64 else 1 if number < 96 else 2
    if number >= FEATURE_AVX512_BF16 & ~31:
        which = 0  # leaf 7, subleaf 1
    __get_cpuid_count(
        leaf,
        which == 0,
        cython.address(register[0]),
        cython.address(register[1]),
        cython.address(register[2]),
        cython.address(register[3]),
    )
    return register[which] >> (number & 31) & 1


def host_has(feature: str) -> bool:
    """Whether a vCPU can have this CPUID feature (a name of cpuid.tbl) as far as the host goes."""
    if feature not in HOST_FEATURES:
        return True
    if feature.startswith("avx512") and not all(map(host_bit, THUNKS_512)):
        return False
    state: int = 0xE6 if feature.startswith("avx512") else 6 if feature in AVX_FEATURES else 0
    return host_bit(HOST_FEATURES[feature]) and host_xcr0() & state == state


@cython.cfunc
@cython.exceptval(check=False)
def limit_features(cpu: CpuP) -> cython.void:
    """Take from a model's features those that the host can't run: after set_model()."""
    number: cython.int
    for feature, number in HOST_FEATURES.items():
        if not host_has(feature):
            cpu.features[number >> 6] &= ~(cython.cast(uint64_t, 1) << (number & 63))


def unshare() -> None:
    """A forked child has no other thread: a lock that one of them held is free again."""
    thunks.lock = 0
    unshare_code_buffer(cython.address(thunks.buffer))


def run_thunk(
    shape: int, opcode: tuple[int, int, int], operands: list[bytes], *,
    digit: int = -1, modrm: int = -1, imm: int = -1, is_wide: bool = False,
) -> tuple[int, list[bytes]]:  # fmt: skip
    """Run one thunk on up to three operands of at most 512 bytes; rax and the operands after it.

    For tests: `opcode` is (prefix, map, opcode byte) as in a table row. The code is forgotten.
    """
    op = cython.declare(Opcode)
    code = cython.declare(Code)
    slots = cython.declare(cython.uchar[3 * 512 + 16])
    base: uint64_t = (cython.cast(uint64_t, cython.address(slots[0])) + 15) & ~cython.cast(uint64_t, 15)
    slot = cython.declare(cython.p_uchar[3])
    k: cython.int
    op.prefix, op.map, op.opcode = opcode
    op.wide, op.digit, op.modrm, op.imm = is_wide, digit, modrm, imm
    for k in range(3):
        slot[k] = cython.cast(cython.p_uchar, base + 512 * k)
        data: bytes = operands[k].ljust(512, b"\0") if k < len(operands) else bytes(512)
        memcpy(slot[k], cython.cast(cython.p_uchar, data), 512)
    lock_thunks()
    emit_thunk(cython.address(code), shape, cython.address(op))
    offset: uint32_t = append_code(cython.address(thunks.buffer), code.data, code.size)
    value: uint64_t = 0
    if offset != 0:
        # SAFETY: just emitted, and the lock is held until it has run
        thunk: Thunk = cython.cast(Thunk, cython.cast(uint64_t, thunks.buffer.executable) + offset)
        value = thunk(slot[0], slot[1], slot[2])
        thunks.buffer.used_bytes = offset
    clear_lock(cython.address(thunks.lock))
    return value, [slot[k][: len(operands[k])] for k in range(len(operands))]


open_code_buffer(cython.address(thunks.buffer), CAPACITY_BYTES)
os.register_at_fork(after_in_child=unshare)
