"""The decoder: bytes to an `Instr`, by the rows of tables/x86*.tbl. SDM vol. 2, chapter 2.

The rows that share an opcode are tried from the most particular to the most general; the first
whose prefix, ModRM, mode and CPUID feature fit is the instruction. Nothing here reads guest
memory or raises: a failure is a result, and an undefined instruction is one that raises #UD.
"""

import cython
from cython.cimports.libc.stdint import (
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
)
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86._gen_dispatch import fill_handlers
from cython.cimports.ringfence.core.x86._gen_features import FEATURE_AVX512VL
from cython.cimports.ringfence.core.x86.decode import (
    DECODE_TOO_LONG,
    DECODE_TRUNCATED,
    DECODED,
    DECODED_END,
)
from cython.cimports.ringfence.core.x86.decode_table import (
    ATTRIBUTE_D64,
    ATTRIBUTE_END,
    ATTRIBUTE_F64,
    ATTRIBUTE_I64,
    ATTRIBUTE_LOCK,
    ATTRIBUTE_NOREXB,
    ATTRIBUTE_O64,
    ATTRIBUTE_PM,
    ENTRY_LIMIT,
    IMM_NONE,
    NO_FEATURE,
    VECTOR_LIG,
    VECTOR_ROUND,
    VECTOR_SAE,
    VECTOR_VSIB,
    VECTOR_WIG32,
    EntryInfo,
    EntryInfoP,
    HandlerSet,
    Root,
)
from cython.cimports.ringfence.core.x86.decode_vector import finish_vector
from cython.cimports.ringfence.core.x86.faults import raise_ud
from cython.cimports.ringfence.core.x86.scan import (
    Scan,
    ScanP,
    scan_immediate,
    scan_memory,
    scan_opcode,
    scan_prefixes,
)
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    DS,
    EA_BASE64,
    EA_FLAT32,
    EA_FLAT64,
    EA_GENERAL,
    ES,
    FS,
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
    SS,
    ZERO,
    CpuP,
    InstrP,
)

from ringfence.core.x86._gen_decode_data import CANDIDATES, ENTRIES, INFO, ROOTS

infos = cython.declare(EntryInfo[ENTRY_LIMIT])
handlers = cython.declare(HandlerSet[ENTRY_LIMIT])
roots = cython.declare(Root[3 * 1024])
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
    if (
        ENTRIES > ENTRY_LIMIT
        or len(candidate) > cython.sizeof(candidates)
        or len(root) != cython.sizeof(roots)
    ):
        raise AssertionError("the decoder's tables have outgrown decode_table.pxd")
    if len(info) != ENTRIES * cython.sizeof(EntryInfo):
        raise AssertionError("EntryInfo and tools/gen.py disagree")
    # SAFETY: the three lengths were just compared with the arrays
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
    if e.attributes & ATTRIBUTE_NOREXB and s.rex & 1:
        return False
    if e.vex and not fits_vex(cpu, s, e):
        return False
    return has_row_feature(cpu, e.feature)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_row_feature(cpu: CpuP, feature: cython.int) -> cython.bint:
    return feature == NO_FEATURE or (cpu.features[feature >> 6] >> (feature & 63)) & 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fits_vex(cpu: CpuP, s: ScanP, e: EntryInfoP) -> cython.bint:
    """W, the length, and vvvv, which must be 1111b where it names no register (SDM vol. 2, 2.3.5.6)."""
    length: cython.int = s.length
    is_wide: cython.bint = s.rex & 8 != 0
    if e.vector & VECTOR_WIG32 and not s.is_64:
        is_wide = False
    if e.wide and is_wide != (e.wide == 2):
        return False
    if s.vvvv & (15 if e.vector & VECTOR_VSIB else 31) and not e.has_modrm & 4:
        return False
    if e.vector & VECTOR_LIG:
        return s.vex == 1 or length != 3 or s.evex_b
    if s.evex_b and s.modrm >= 0xC0 and e.vector & (VECTOR_ROUND | VECTOR_SAE):
        # L'L is the rounding
        length = 2
    if not e.lengths >> length & 1:
        return False
    if s.vex == 2:
        return length == 2 or has_row_feature(cpu, FEATURE_AVX512VL)
    return length == 0 or has_row_feature(cpu, e.feature_256)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_entry(cpu: CpuP, s: ScanP, mode: uint32_t) -> cython.int:
    root: Root = roots[s.vex * 1024 + s.map * 256 + s.opcode]
    k: cython.int
    # ModRM is looked at, not consumed: rows without it share no opcode with rows that have it
    s.modrm = s.code[s.at] if s.at < s.available else 0
    if s.map == 1 and s.opcode & 0xFC == 0x20:
        # MOV of control and debug registers: the mod field is ignored, the operand is always a register
        s.modrm |= 0xC0
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
    # no row: engines that look at the row find nothing and run the handler
    i.entry = ENTRY_LIMIT - 1
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
            s.vsib = e.vector & VECTOR_VSIB
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
    if s.rex & 8 and (s.is_64 or e.wide == 2):
        i.attr |= INSTR_REX_W
    if e.kinds and not finish_vector(cython.address(s), e, i):
        return set_undefined(cython.address(s), i)
    if i.base == BLOCK_RIP:
        # relative to the next instruction; i.offset and the length are small
        if cython.cast(int64_t, i.disp) + i.offset + i.length > 0x7FFFFFFF:
            return DECODE_TRUNCATED if i.offset else set_undefined(cython.address(s), i)
        i.disp += i.offset + i.length
    choose_ea_form(cython.address(s), i, mode)
    if s.opsize:
        i.attr |= INSTR_OPSIZE
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
