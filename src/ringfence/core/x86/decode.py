"""The decoder: bytes to an `Instr`, by the rows of tables/x86*.tbl. SDM vol. 2, chapter 2.

The rows that share an opcode are tried from the most particular to the most general; the first
whose prefix, ModRM, mode and CPUID feature fit is the instruction. Nothing here reads guest
memory or raises: a failure is a result, and an undefined instruction is one that raises #UD.
"""

import cython
from cython.cimports.libc.stdint import (
    int8_t,
    int16_t,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86._gen_dispatch import fill_handlers
from cython.cimports.ringfence.core.x86.decode import (
    DECODE_TOO_LONG,
    DECODE_TRUNCATED,
    DECODED,
    DECODED_END,
    Scan,
    ScanP,
)
from cython.cimports.ringfence.core.x86.decode_table import (
    ATTRIBUTE_D64,
    ATTRIBUTE_END,
    ATTRIBUTE_F64,
    ATTRIBUTE_I64,
    ATTRIBUTE_LOCK,
    ATTRIBUTE_NOEA,
    ATTRIBUTE_NOSEG,
    ATTRIBUTE_O64,
    ATTRIBUTE_PM,
    ENTRY_LIMIT,
    IMM_BYTE,
    IMM_ENTER,
    IMM_FAR,
    IMM_NONE,
    IMM_OFFSET,
    IMM_TWO_BYTES,
    IMM_V,
    IMM_WORD,
    EntryInfo,
    EntryInfoP,
    HandlerSet,
    Root,
)
from cython.cimports.ringfence.core.x86.faults import raise_ud
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    CS,
    DS,
    EA_BASE64,
    EA_FLAT32,
    EA_FLAT64,
    EA_GENERAL,
    ES,
    FS,
    GS,
    INSTR_LOCK,
    INSTR_MEMORY,
    INSTR_OPSIZE,
    INSTR_REP,
    INSTR_REPNE,
    INSTR_REX_W,
    MODE_CODE16,
    MODE_CODE32,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_FLAT,
    MODE_PROTECTED,
    RBP,
    RSP,
    SS,
    ZERO,
    CpuP,
    Handler,
    InstrP,
)

from ringfence.core.x86._gen_decode_data import CANDIDATES, ENTRIES, INFO, ROOTS

infos = cython.declare(EntryInfo[ENTRY_LIMIT])
handlers = cython.declare(HandlerSet[ENTRY_LIMIT])
roots = cython.declare(Root[2048])
candidates = cython.declare(uint16_t[8192])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def undefined_instruction(cpu: CpuP, i: InstrP) -> cython.void:
    raise_ud(cpu)


def load_tables() -> None:
    """Copy the generated tables into C arrays; once, at import."""
    info: bytes = INFO
    root: bytes = ROOTS
    candidate: bytes = CANDIDATES
    if ENTRIES > ENTRY_LIMIT or len(candidate) > cython.sizeof(candidates) or len(root) != cython.sizeof(roots):
        raise AssertionError("the decoder's tables have outgrown decode_table.pxd")
    if len(info) != ENTRIES * cython.sizeof(EntryInfo):
        raise AssertionError("EntryInfo and tools/gen.py disagree")
    memcpy(cython.address(infos[0]), cython.cast(cython.p_char, info), len(info))
    memcpy(cython.address(roots[0]), cython.cast(cython.p_char, root), len(root))
    memcpy(cython.address(candidates[0]), cython.cast(cython.p_char, candidate), len(candidate))
    memset(cython.address(handlers[0]), 0, cython.sizeof(handlers))
    fill_handlers(cython.address(handlers[0]))


load_tables()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_info(entry: cython.int) -> EntryInfoP:
    return cython.address(infos[entry])


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
    s.vvvv = ((third >> 3) & 15) ^ 15
    s.vex_l = (third >> 2) & 1
    if third & 3 == 1:
        s.opsize = 1
    elif third & 3 == 2:
        s.rep = 0xF3
    elif third & 3 == 3:
        s.rep = 0xF2
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
    s.opcode = byte
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fits(cpu: CpuP, s: ScanP, e: EntryInfoP, mode: uint32_t) -> cython.bint:
    """Whether a row is the instruction that was scanned."""
    if e.has_modrm & 1:
        if e.has_exact and s.modrm != e.modrm_exact:
            return False
        if e.digit >= 0 and (s.modrm >> 3) & 7 != e.digit:
            return False
        if e.form and (s.modrm >= 0xC0) != (e.form == 2):
            return False
    if e.prefix:
        if e.prefix == 1:
            if s.opsize or s.rep:
                return False
        elif e.prefix == 0x66:
            if not s.opsize or s.rep:
                return False
        elif s.rep != e.prefix:
            return False
    if e.attributes & ATTRIBUTE_I64 and (mode & MODE_CODE_MASK) == MODE_CODE64:
        return False
    if e.attributes & ATTRIBUTE_O64 and (mode & MODE_CODE_MASK) != MODE_CODE64:
        return False
    if e.attributes & ATTRIBUTE_PM and not mode & MODE_PROTECTED:
        return False
    if e.vex == 1 and s.vex_l:
        return False
    return e.feature == 255 or (cpu.features[e.feature >> 6] >> (e.feature & 63)) & 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_entry(cpu: CpuP, s: ScanP, mode: uint32_t) -> cython.int:
    root: Root = roots[s.vex * 1024 + s.map * 256 + s.opcode]
    k: cython.int
    # ModRM is looked at, not consumed: rows without it share no opcode with rows that have it
    s.modrm = s.code[s.at] if s.at < s.available else 0
    for k in range(root.first, root.first + root.count):
        if infos[candidates[k]].has_modrm & 1 and s.at >= s.available:
            s.is_truncated = 1
            return -1
        if fits(cpu, s, cython.address(infos[candidates[k]]), mode):
            return candidates[k]
    return -1


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
        if i.index == 4:
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
def byte_register(index: cython.int, has_rex: cython.bint) -> uint8_t:
    """A byte register as an offset in bytes into regs[]: AH CH DH BH are byte 1 of registers 0..3."""
    if not has_rex and index >= 4 and index < 8:
        return (index - 4) * 8 + 1
    return index * 8


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def operand_width(s: ScanP, e: EntryInfoP, mode: uint32_t) -> cython.int:
    """log2 of the operand size in bytes."""
    is_wide: cython.bint = (mode & MODE_CODE_MASK) == MODE_CODE32
    if e.width_kind == 1:
        return 0
    if s.is_64:
        if e.attributes & ATTRIBUTE_F64 or s.rex & 8:
            return 3
        if e.width_kind == 2:
            return 2
        if e.attributes & ATTRIBUTE_D64:
            return 1 if s.opsize else 3
        is_wide = True
    if e.width_kind == 2:
        return 2
    # a mandatory 66 is no operand-size prefix
    if s.opsize and e.prefix != 0x66:
        return 1 if is_wide else 2
    if e.prefix == 0x66 and e.map == 2 and e.opcode & 0xFE == 0xF0:
        return 1 if is_wide else 2
    return 2 if is_wide else 1


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


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def choose_ea_form(s: ScanP, i: InstrP, mode: uint32_t) -> cython.void:
    """How the linear address of the memory operand is formed; see EA_* in state.pxd."""
    if s.seg >= 0:
        i.seg = s.seg
    if s.is_64:
        if i.seg >= FS:
            i.ea_form = EA_BASE64 if i.asize == 8 else EA_GENERAL
        else:
            i.ea_form = EA_FLAT64 if i.asize == 8 else EA_FLAT32
    elif mode & MODE_FLAT and i.asize == 4 and (i.seg == DS or i.seg == SS or i.seg == ES):
        i.ea_form = EA_FLAT32
    else:
        i.ea_form = EA_GENERAL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_undefined(s: ScanP, i: InstrP) -> cython.int:
    i.fn = undefined_instruction
    i.length = min(s.at, 15)
    return DECODED_END


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def decode(
    cpu: CpuP, mode: uint32_t, code: cython.pointer(cython.const[uint8_t]), available: cython.int, i: InstrP
) -> cython.int:
    """Decode one instruction of at most ``available`` bytes (and 15) at ``code`` into ``i``.

    ``i.offset`` and everything after ``i`` is the caller's. Returns a `DecodeResult`.
    """
    s: Scan
    e: EntryInfoP
    entry: cython.int
    form: cython.int = 0
    byte: cython.int
    offset: uint8_t = i.offset
    memset(cython.address(s), 0, cython.sizeof(s))
    memset(i, 0, cython.sizeof(i[0]))
    i.offset = offset
    s.code = code
    s.available = min(available, 15)
    s.seg = -1
    s.is_64 = (mode & MODE_CODE_MASK) == MODE_CODE64
    i.base = ZERO
    i.index = ZERO
    i.seg = DS
    byte = scan_prefixes(cython.address(s), s.is_64)
    if not s.is_truncated and not scan_opcode(cython.address(s), byte, mode) and not s.is_truncated:
        return set_undefined(cython.address(s), i)
    if s.is_truncated:
        return DECODE_TOO_LONG if available >= 15 else DECODE_TRUNCATED
    entry = find_entry(cpu, cython.address(s), mode)
    if s.is_truncated:
        return DECODE_TOO_LONG if available >= 15 else DECODE_TRUNCATED
    if entry < 0:
        return set_undefined(cython.address(s), i)
    e = cython.address(infos[entry])
    i.entry = entry
    if s.is_64:
        i.asize = 4 if s.adsize else 8
    else:
        i.asize = 2 if (mode & MODE_CODE_MASK == MODE_CODE16) != s.adsize else 4
    i.width = operand_width(cython.address(s), e, mode)
    s.width_z = i.width if i.width == 1 else 2
    if e.has_modrm & 1:
        s.at += 1
        i.modrm = s.modrm
        i.reg = ((s.modrm >> 3) & 7) | ((s.rex & 4) << 1)
        if s.modrm >= 0xC0:
            i.rm = (s.modrm & 7) | ((s.rex & 1) << 3)
            if e.byte_registers & 2:
                i.rm = byte_register(i.rm, s.rex != 0)
        elif not e.has_exact:
            scan_memory(cython.address(s), i)
            i.attr |= INSTR_MEMORY
            form = 1
        if e.byte_registers & 1:
            i.reg = byte_register(i.reg, s.rex != 0)
    if s.vex:
        i.vvvv = s.vvvv if s.is_64 else s.vvvv & 7
    elif e.has_modrm & 2:
        i.vvvv = (s.opcode & 7) | ((s.rex & 1) << 3)
        if e.byte_registers & 4:
            i.vvvv = byte_register(i.vvvv, s.rex != 0)
    if e.imm_kind != IMM_NONE:
        scan_immediate(cython.address(s), e, i)
    if s.is_truncated:
        return DECODE_TOO_LONG if available >= 15 else DECODE_TRUNCATED
    i.length = s.at
    if i.base == BLOCK_RIP:
        # relative to the next instruction; i.offset and the length are small
        if cython.cast(int64_t, i.disp) + i.offset + i.length > 0x7FFFFFFF:
            return DECODE_TRUNCATED if i.offset else set_undefined(cython.address(s), i)
        i.disp += i.offset + i.length
    choose_ea_form(cython.address(s), i, mode)
    if s.opsize:
        i.attr |= INSTR_OPSIZE
    if s.rex & 8:
        i.attr |= INSTR_REX_W
    if s.rep:
        i.attr |= INSTR_REP if s.rep == 0xF3 else INSTR_REPNE
    if s.lock:
        if not e.attributes & ATTRIBUTE_LOCK or form == 0:
            return set_undefined(cython.address(s), i)
        i.attr |= INSTR_LOCK
        form = 2
    i.fn = handlers[entry].form[form][i.width]
    if i.fn == cython.NULL:
        return set_undefined(cython.address(s), i)
    return DECODED_END if e.attributes & ATTRIBUTE_END else DECODED
