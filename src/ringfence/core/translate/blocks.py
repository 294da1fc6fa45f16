"""Translation of a block: decoded instructions in, host code out. Adams and Agesen, ASPLOS 2006.

entry:  [to the block's register map]
body:   [is the guest's vector state loaded?]
        instructions
        way out
        what is seldom run: probes that missed, branches taken
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.memory.map import RegionP, find_region
from cython.cimports.ringfence.core.translate.arena import ensure_room, release, take
from cython.cimports.ringfence.core.translate.blocks import HOT_LOOP
from cython.cimports.ringfence.core.translate.branch import (
    put_branch,
    put_call,
    put_call_operand,
    put_direct_jump,
    put_fall_through,
    put_jump_operand,
    put_return_near,
)
from cython.cimports.ringfence.core.translate.builder import (
    FIELD_LIMIT,
    FLAGS_BOTH,
    FLAGS_SAVED,
    Builder,
    BuilderP,
)
from cython.cimports.ringfence.core.translate.copy import (
    put_copy,
    put_lea_copy,
    put_low_register,
    put_offset_move,
    put_raw,
)
from cython.cimports.ringfence.core.translate.divide import put_divide
from cython.cimports.ringfence.core.translate.encode import (
    CC_B,
    Operand,
    absolute,
    position,
    put8,
    put_forward_branch,
    put_op,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.links import context_of, insert_translation
from cython.cimports.ringfence.core.translate.liveness import compute_liveness
from cython.cimports.ringfence.core.translate.loops import plan_loop, put_undo, put_way_in
from cython.cimports.ringfence.core.translate.lowering import (
    KIND_BRANCH,
    KIND_CALL,
    KIND_CALL_OPERAND,
    KIND_COPY,
    KIND_COPY_VEX,
    KIND_DIVIDE,
    KIND_DIVIDE_SIGNED,
    KIND_INTERPRET,
    KIND_JUMP,
    KIND_JUMP_OPERAND,
    KIND_LEA,
    KIND_LEAVE_FRAME,
    KIND_LOW_REGISTER,
    KIND_NOP,
    KIND_OFFSET,
    KIND_POP_REGISTER,
    KIND_PUSH_IMMEDIATE,
    KIND_PUSH_OPERAND,
    KIND_PUSH_REGISTER,
    KIND_RAW,
    KIND_RETURN,
    LOWERING_AVX,
    LOWERING_AVX512,
    LOWERING_VECTOR,
    LoweringP,
    lowering_of,
)
from cython.cimports.ringfence.core.translate.register_map import choose_map, put_from_canonical, use_map
from cython.cimports.ringfence.core.translate.routines import ensure_map
from cython.cimports.ringfence.core.translate.sensitive import is_sensitive, put_sensitive
from cython.cimports.ringfence.core.translate.sites import (
    later_site,
    new_site,
    put_callout,
    put_stubs,
    set_resume,
)
from cython.cimports.ringfence.core.translate.stack import (
    put_leave_frame,
    put_pop_register,
    put_push_immediate,
    put_push_operand,
    put_push_register,
)
from cython.cimports.ringfence.core.translate.translation import (
    CLASS_COPY,
    CLASS_EMULATE,
    CLASS_EXIT,
    CLASS_REWRITE,
    LEVEL_AVX,
    LEVEL_AVX512,
    LEVEL_SSE,
    SITE_INTERPRET,
    SITE_LEAVE,
    SITE_VECTOR,
    Reloc,
    SiteP,
    Translation,
    TranslationP,
    translator_of,
)
from cython.cimports.ringfence.core.translate.vex import put_copy_vex
from cython.cimports.ringfence.core.translate.windows import close_windows, follow
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import ATTRIBUTE_END
from cython.cimports.ringfence.core.x86.state import (
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_STACK32,
    PAGE_BYTES,
    BlockP,
    CpuP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_by_kind(b: BuilderP, low: LoweringP) -> cython.bint:
    """The instruction's host code; False where it is to be interpreted."""
    if low.kind == KIND_COPY:
        return put_copy(b, low)
    if low.kind == KIND_BRANCH:
        return put_branch(b, low)
    if low.kind == KIND_LEA:
        return put_lea_copy(b)
    if low.kind == KIND_LOW_REGISTER:
        return put_low_register(b, low)
    if low.kind == KIND_RAW:
        return put_raw(b, low)
    if low.kind == KIND_NOP:
        return True
    if low.kind == KIND_PUSH_REGISTER:
        return put_push_register(b, b.i.vvvv)
    if low.kind == KIND_POP_REGISTER:
        return put_pop_register(b)
    if low.kind == KIND_PUSH_IMMEDIATE:
        return put_push_immediate(b, b.i.imm)
    if low.kind == KIND_PUSH_OPERAND:
        return put_push_operand(b)
    if low.kind == KIND_LEAVE_FRAME:
        return put_leave_frame(b)
    if low.kind == KIND_JUMP:
        return put_direct_jump(b)
    if low.kind == KIND_CALL:
        return put_call(b)
    if low.kind == KIND_RETURN:
        return put_return_near(b)
    if low.kind == KIND_JUMP_OPERAND:
        return put_jump_operand(b)
    if low.kind == KIND_CALL_OPERAND:
        return put_call_operand(b)
    if low.kind == KIND_DIVIDE or low.kind == KIND_DIVIDE_SIGNED:
        return put_divide(b, low)
    if low.kind == KIND_COPY_VEX:
        return put_copy_vex(b, low)
    if low.kind == KIND_OFFSET:
        return put_offset_move(b, low)
    if is_sensitive(low.kind) and not b.t.patch_after:
        return put_sensitive(b, low.kind)
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def class_of(kind: cython.int) -> cython.int:
    """Of an instruction that was put in place."""
    if kind == KIND_COPY or kind == KIND_COPY_VEX or kind == KIND_RAW:
        return CLASS_COPY
    return CLASS_COPY if kind == KIND_LOW_REGISTER or kind == KIND_OFFSET else CLASS_REWRITE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_instruction(b: BuilderP, low: LoweringP) -> cython.void:
    ends: cython.bint = entry_info(b.i.entry).attributes & ATTRIBUTE_END != 0 or b.index == b.count - 1
    is_branch: cython.bint = entry_info(b.i.entry).attributes & ATTRIBUTE_END != 0
    first_stub: cython.int = b.stub_count
    leaves: cython.bint = is_branch or low.kind == KIND_BRANCH
    if put_by_kind(b, low):
        b.classes[b.index] = class_of(low.kind)
        set_resume(b, first_stub)
        if ends and not is_branch:
            put_fall_through(b)
        return
    close_windows(b)
    save_flags(b, b.live_in[b.index])
    put_callout(b, new_site(b, SITE_LEAVE if leaves else SITE_INTERPRET))
    b.classes[b.index] = CLASS_EXIT if leaves else CLASS_EMULATE
    # the host's flags are right too, until the call-out is patched
    b.flags = FLAGS_SAVED if is_sensitive(low.kind) else FLAGS_BOTH
    if ends and not is_branch:
        put_fall_through(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_instructions(b: BuilderP) -> cython.void:
    """Of the whole block; of a counted loop the second time."""
    is_first: cython.bint = not b.is_counted
    for b.index in range(b.count):
        b.i = cython.address(b.block.first[b.index])
        if is_first:
            b.out.offsets[b.index] = position(cython.address(b.e))
        b.is_s1_used = 0
        put_instruction(b, lowering_of(b.i.entry))
        follow(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_entry(b: BuilderP) -> cython.void:
    ready: Operand = absolute(cython.address(b.cpu.vector_ready))
    site: SiteP
    b.out.entry = position(cython.address(b.e))
    put_from_canonical(b)
    b.out.body = position(cython.address(b.e))
    if b.out.uses_vector:
        site = new_site(b, SITE_VECTOR)
        put_op(cython.address(b.e), 0, 0x83, 7, cython.address(ready))
        put8(cython.address(b.e), b.out.uses_vector)
        later_site(b, put_forward_branch(cython.address(b.e), CC_B), site)
        site.resume = position(cython.address(b.e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gather_code(b: BuilderP, second: RegionP) -> cython.void:
    """The bytes of the one instruction that lies in two pages."""
    first: uint32_t = PAGE_BYTES - (b.block.gpa & 0xFFF)
    # SAFETY: an instruction of at most 15 bytes, of which `first` are on the first page
    memcpy(b.crossing, b.code, first)
    memcpy(b.crossing + first, second.host + (b.block.gpa2 - second.gpa), b.block.bytes - first)
    b.code = b.crossing


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_memory(cpu: CpuP, block: BlockP) -> cython.bint:
    """Whether the block's code lies in RAM or ROM."""
    if find_region(cpu.memory, block.gpa) == cython.NULL:
        return False
    return block.gpa2 == 0 or find_region(cpu.memory, block.gpa2) != cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def start(b: BuilderP, cpu: CpuP, block: BlockP, rip: uint64_t) -> cython.void:
    k: cython.int
    level: cython.int
    low: LoweringP
    region: RegionP = find_region(cpu.memory, block.gpa)
    out: TranslationP = cython.cast(TranslationP, take(b.t, cython.sizeof(Translation)))
    memset(out, 0, cython.sizeof(Translation))
    out.offsets = cython.cast(cython.pointer(uint32_t), take(b.t, block.count * cython.sizeof(uint32_t)))
    b.out = out
    out.gpa = block.gpa
    out.gpa2 = block.gpa2
    out.rip = rip
    out.context = context_of(cpu)
    out.bytes = block.bytes
    out.count = block.count
    out.low = block.gpa & 0xFFF
    out.high = out.low + block.bytes
    out.is_valid = 1
    out.is_linkable = 1
    out.is_movable = block.gpa2 == 0
    out.region = b.t.current
    b.count = block.count
    # SAFETY: translate_block() has seen that the block's code is in this region
    b.code = region.host + (block.gpa - region.gpa)
    if block.gpa2:
        gather_code(b, find_region(cpu.memory, block.gpa2))
    b.is_64 = (cpu.mode & MODE_CODE_MASK) == MODE_CODE64
    b.is_stack32 = cpu.mode & MODE_STACK32 != 0
    for k in range(block.count):
        low = lowering_of(block.first[k].entry)
        if low.attr & LOWERING_VECTOR and low.kind != KIND_INTERPRET:
            level = (
                LEVEL_AVX512
                if low.attr & LOWERING_AVX512
                else LEVEL_AVX
                if low.attr & LOWERING_AVX
                else LEVEL_SSE
            )
            out.uses_vector = max(level, out.uses_vector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def keep_relocations(b: BuilderP) -> cython.void:
    """What a copy has to change, behind the translation's other records."""
    out: TranslationP = b.out
    start: uint64_t = cython.cast(uint64_t, out)
    out.records_bytes = cython.cast(uint64_t, take(b.t, 0)) - start
    out.field_count = b.e.field_count
    out.reloc_count = b.reloc_count
    out.fields = cython.cast(cython.pointer(uint16_t), take(b.t, out.field_count * cython.sizeof(uint16_t)))
    out.relocs = cython.cast(cython.pointer(Reloc), take(b.t, out.reloc_count * cython.sizeof(Reloc)))
    memcpy(out.fields, b.fields, out.field_count * cython.sizeof(uint16_t))
    memcpy(out.relocs, b.relocs, out.reloc_count * cython.sizeof(Reloc))
    out.data_bytes = cython.cast(uint64_t, take(b.t, 0)) - start
    if b.e.field_count == FIELD_LIMIT:
        out.is_movable = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def translate_block(
    cpu: CpuP, block: BlockP, rip: uint64_t, primary: TranslationP, heat: cython.int
) -> TranslationP:
    b = cython.declare(Builder)
    t = translator_of(cpu)
    undo: cython.pointer(uint8_t)
    if not has_memory(cpu, block) or not ensure_room(cpu, t):
        return cython.NULL
    if primary != cython.NULL and not primary.is_valid:
        # making room has evicted it
        return cython.NULL
    b.cpu = cpu
    b.t = t
    b.block = block
    b.stub_count = 0
    b.failed = 0
    b.is_hot = heat != 0
    b.is_loop = heat == HOT_LOOP
    # a twin is made from a block within one page
    b.has_windows = primary == cython.NULL and block.gpa2 == 0
    b.flags = FLAGS_SAVED
    b.e.start = t.code.writable
    b.e.is_evex = 0
    b.e.at = t.code.writable + t.regions[t.current].code_at + t.regions[t.current].code_used
    b.e.begin = b.e.at
    b.e.fields = b.fields
    b.e.field_count = 0
    b.e.field_limit = FIELD_LIMIT
    b.reloc_count = 0
    b.tlb_read = cpu.tlb_read
    b.tlb_write = cpu.tlb_write
    start(cython.address(b), cpu, block, rip)
    b.out.is_hot = b.is_hot
    if primary == cython.NULL:
        b.out.map = choose_map(cython.address(b))
    else:
        b.out.map = primary.map
        b.out.is_twin = 1
        b.out.twin = primary
    ensure_map(cpu, t, b.out.map)
    use_map(cython.address(b), b.out.map)
    close_windows(cython.address(b))
    plan_loop(cython.address(b))
    compute_liveness(cython.address(b))
    b.index = 0
    b.i = block.first
    put_entry(cython.address(b))
    put_instructions(cython.address(b))
    if b.loop_exit != cython.NULL:
        b.loop_exit.loop = position(cython.address(b.e))
        undo = put_way_in(cython.address(b))
        put_instructions(cython.address(b))
        put_undo(cython.address(b), undo)
    put_stubs(cython.address(b))
    if b.failed:
        return cython.NULL
    b.out.end = position(cython.address(b.e))
    keep_relocations(cython.address(b))
    release(t, b.out.end)
    insert_translation(cpu, t, b.out)
    if primary != cython.NULL:
        primary.twin = b.out
    for b.index in range(b.count):
        t.rows[block.first[b.index].entry].translated[b.classes[b.index]] += 1
    t.count.translations += 1
    t.count.instructions += b.count
    t.count.guest_bytes += b.out.bytes
    t.count.host_bytes += b.out.end - b.out.entry
    return b.out
