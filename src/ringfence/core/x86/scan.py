"""Reading the bytes of an instruction: prefixes, VEX, EVEX, opcode, ModRM and SIB, displacement, immediate.

SDM vol. 2, chapter 2. Past the bytes that were given, zeros are read and the scan is marked
truncated: who asked looks at that once, at the end.
"""

import cython
from cython.cimports.libc.stdint import (
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.decode_table import (
    IMM_BYTE,
    IMM_ENTER,
    IMM_FAR,
    IMM_OFFSET,
    IMM_TWO_BYTES,
    IMM_V,
    IMM_WORD,
    EntryInfoP,
)
from cython.cimports.ringfence.core.x86.scan import ScanP
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    DS,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_PROTECTED,
    RBP,
    RSP,
    SS,
    ZERO,
    InstrP,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def next_byte(s: ScanP) -> cython.int:
    """The next byte of code; past the end it is 0 and the scan is marked truncated."""
    if s.at >= s.available:
        s.is_truncated = 1
        return 0
    s.at += 1
    return s.code[s.at - 1]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_value(s: ScanP, size: cython.int) -> uint64_t:
    value: uint64_t = 0
    k: cython.int
    for k in range(size):
        value |= cython.cast(uint64_t, next_byte(s)) << (8 * k)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_signed(s: ScanP, size: cython.int) -> int64_t:
    value: uint64_t = next_value(s, size)
    return cython.cast(int64_t, value << (64 - 8 * size)) >> (64 - 8 * size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_prefixes(s: ScanP, is_64: cython.bint) -> cython.int:
    """Legacy and REX prefixes; returns the first byte that is neither."""
    byte: cython.int
    while True:
        byte = next_byte(s)
        if byte == 0x66:
            s.opsize = 1
        elif byte == 0x67:
            s.adsize = 1
        elif byte == 0xF0:
            s.lock = 1
        elif byte == 0xF2 or byte == 0xF3:
            s.rep = byte
        elif byte == 0x2E or byte == 0x36 or byte == 0x3E or byte == 0x26:
            if not is_64:
                s.seg = (byte >> 3) & 3
        elif byte == 0x64 or byte == 0x65:
            s.seg = byte - 0x60
        elif is_64 and byte & 0xF0 == 0x40:
            # REX counts only right before the opcode
            s.rex = byte
            continue
        else:
            return byte
        s.rex = 0
        if s.is_truncated or s.at > 14:
            return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_vex(s: ScanP, byte: cython.int) -> cython.bint:
    """A VEX prefix, first byte read. False: undefined (used with 66 F2 F3 LOCK REX, or no such map)."""
    second: cython.int = next_byte(s)
    third: cython.int
    if s.opsize or s.rep or s.lock or s.rex:
        return False
    s.vex = 1
    if byte == 0xC5:
        s.rex = 0x40 | (4 if not second & 0x80 else 0)
        third = second & 0x7F
        s.map = 1
    else:
        s.rex = 0x40 | ((second >> 5) ^ 7)
        s.map = second & 31
        third = next_byte(s)
        if third & 0x80:
            s.rex |= 8
        if s.map < 1 or s.map > 3:
            return False
    s.length = (third >> 2) & 1
    scan_vvvv_pp(s, third)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_vvvv_pp(s: ScanP, byte: cython.int) -> cython.void:
    """Where VEX and EVEX are alike: vvvv and the mandatory prefix."""
    s.vvvv = ((byte >> 3) & 15) ^ 15
    if byte & 3 == 1:
        s.opsize = 1
    elif byte & 3 == 2:
        s.rep = 0xF3
    elif byte & 3 == 3:
        s.rep = 0xF2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_evex(s: ScanP) -> cython.bint:
    """An EVEX prefix, 62h read: SDM vol. 2, 2.7.1. False: undefined."""
    first: cython.int = next_byte(s)
    second: cython.int = next_byte(s)
    third: cython.int = next_byte(s)
    if s.opsize or s.rep or s.lock or s.rex or first & 8 or not second & 4:
        return False
    s.vex = 2
    s.map = first & 7
    if s.map < 1 or s.map > 3:
        return False
    s.rex = 0x40 | (first >> 5 ^ 7) | (8 if second & 0x80 else 0)
    scan_vvvv_pp(s, second)
    # outside 64-bit mode R' is ignored, V' must be 1
    if not first & 0x10 and s.is_64:
        s.reg_high = 16
    if not third & 8:
        if not s.is_64:
            return False
        s.vvvv |= 16
    s.opmask = third & 7
    s.evex_b = third >> 4 & 1
    s.length = third >> 5 & 3
    s.zeroing = third >> 7
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_opcode(s: ScanP, byte: cython.int, mode: uint32_t) -> cython.bint:
    """Map and opcode. False: undefined."""
    is_64: cython.bint = (mode & MODE_CODE_MASK) == MODE_CODE64
    s.map = 0
    if byte == 0x0F:
        byte = next_byte(s)
        s.map = 1
        if byte == 0x38 or byte == 0x3A:
            s.map = 2 if byte == 0x38 else 3
            byte = next_byte(s)
    elif byte == 0xC4 or byte == 0xC5:
        # LES and LDS outside 64-bit mode, unless what would be ModRM names a register
        if is_64 or (s.at < s.available and s.code[s.at] >= 0xC0 and mode & MODE_PROTECTED):
            if not scan_vex(s, byte):
                return False
            byte = next_byte(s)
    elif byte == 0x62 and (is_64 or (s.at < s.available and s.code[s.at] >= 0xC0 and mode & MODE_PROTECTED)):
        # BOUND, in the same way
        if not scan_evex(s):
            return False
        byte = next_byte(s)
    s.opcode = byte
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_memory(s: ScanP, i: InstrP) -> cython.void:
    """ModRM's memory forms: SDM vol. 2, tables 2-1 and 2-2."""
    mod: cython.int = s.modrm >> 6
    rm: cython.int = s.modrm & 7
    sib: cython.int
    i.seg = DS
    if i.asize == 2:
        scan_memory_16(s, i, mod, rm)
        return
    i.base = rm | ((s.rex & 1) << 3)
    if rm == 4:
        sib = next_byte(s)
        i.base = (sib & 7) | ((s.rex & 1) << 3)
        i.index = ((sib >> 3) & 7) | ((s.rex & 2) << 2)
        i.scale = sib >> 6
        if s.vsib:
            i.rm = i.index | s.vvvv & 16
            i.index = ZERO
        elif i.index == 4:
            i.index = ZERO
            i.scale = 0
        if sib & 7 == 5 and mod == 0:
            i.base = ZERO
            i.disp = cython.cast(int32_t, next_signed(s, 4))
            return
    elif rm == 5 and mod == 0:
        i.base = ZERO
        i.disp = cython.cast(int32_t, next_signed(s, 4))
        if s.is_64:
            i.base = BLOCK_RIP
        return
    if i.base == RSP or i.base == RBP:
        i.seg = SS
    if mod == 1:
        i.disp = cython.cast(int32_t, next_signed(s, 1))
    elif mod == 2:
        i.disp = cython.cast(int32_t, next_signed(s, 4))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_memory_16(s: ScanP, i: InstrP, mod: cython.int, rm: cython.int) -> cython.void:
    """[BX+SI] [BX+DI] [BP+SI] [BP+DI] [SI] [DI] [BP] [BX]."""
    if rm < 4:
        i.base = 3 if rm < 2 else RBP
        i.index = 6 + (rm & 1)
    elif rm < 6:
        i.base = 2 + rm
    elif rm == 6:
        if mod == 0:
            i.disp = cython.cast(int32_t, next_signed(s, 2))
            return
        i.base = RBP
    else:
        i.base = 3
    if i.base == RBP:
        i.seg = SS
    if mod == 1:
        i.disp = cython.cast(int32_t, next_signed(s, 1))
    elif mod == 2:
        i.disp = cython.cast(int32_t, next_signed(s, 2))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_immediate(s: ScanP, e: EntryInfoP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    if e.imm_kind == IMM_BYTE:
        i.imm = next_signed(s, 1)
    elif e.imm_kind == IMM_WORD:
        i.imm = cython.cast(int64_t, next_value(s, 2))
    elif e.imm_kind == IMM_V:
        i.imm = next_signed(s, size)
    elif e.imm_kind == IMM_FAR:
        i.imm = cython.cast(int64_t, next_value(s, size))
        i.imm |= cython.cast(int64_t, next_value(s, 2) << 32)
    elif e.imm_kind == IMM_OFFSET:
        i.imm = cython.cast(int64_t, next_value(s, i.asize))
    elif e.imm_kind == IMM_ENTER:
        i.imm = cython.cast(int64_t, next_value(s, 2))
        i.imm2 = cython.cast(uint32_t, next_value(s, 1))
    elif e.imm_kind == IMM_TWO_BYTES:
        i.imm = cython.cast(int64_t, next_value(s, 1))
        i.imm2 = cython.cast(uint32_t, next_value(s, 1))
    else:
        i.imm = next_signed(s, 2 if s.width_z == 1 else 4)
