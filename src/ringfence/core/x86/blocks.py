"""Decoded blocks: straight runs of guest code as arrays of `Instr`, kept by physical address.

A block ends at an instruction that its row marks `end`, at the end of the page, or after 32
instructions. An instruction that crosses into the next page is a block of its own and belongs to
both pages. What writes to such pages do is code_pages.py's business.

One cache a vCPU. When it is full it starts afresh.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.memory.map import RegionP, find_region
from cython.cimports.ringfence.core.x86.access import fetch_gpa
from cython.cimports.ringfence.core.x86.blocks import (
    BLOCK_CAPACITY,
    INSTR_CAPACITY,
    BlockCache,
    BlockCacheP,
)
from cython.cimports.ringfence.core.x86.code_pages import bucket_of, flush_blocks, mark_code, page_bucket
from cython.cimports.ringfence.core.x86.decode import (
    DECODE_TOO_LONG,
    DECODE_TRUNCATED,
    DECODED,
    decode,
)
from cython.cimports.ringfence.core.x86.decode_table import ENTRY_LIMIT
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.operands import dispatch, rip_of, wrap_rip
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_LIMIT,
    BLOCK_RIP,
    CS,
    JUMP_CACHE_ENTRIES,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_STACK32,
    MODE_USER,
    PAGE_BYTES,
    Block,
    BlockP,
    CpuP,
    Instr,
    InstrP,
    JumpEntry,
)


@cython.cfunc
@cython.exceptval(check=False)
def new_block_cache() -> BlockCacheP:
    """A cache, or NULL without memory. Untouched pages of it cost the host nothing."""
    cache = cython.cast(BlockCacheP, calloc(1, cython.sizeof(BlockCache)))
    if cache != cython.NULL:
        cache.blocks = cython.cast(BlockP, calloc(BLOCK_CAPACITY, cython.sizeof(Block)))
        cache.instrs = cython.cast(InstrP, calloc(INSTR_CAPACITY, cython.sizeof(Instr)))
        if cache.blocks == cython.NULL or cache.instrs == cython.NULL:
            free_block_cache(cache)
            return cython.NULL
    return cache


@cython.cfunc
@cython.exceptval(check=False)
def free_block_cache(cache: BlockCacheP) -> cython.void:
    if cache != cython.NULL:
        free(cache.blocks)
        free(cache.instrs)
        free(cache)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fall_through(cpu: CpuP, i: InstrP) -> cython.void:
    """After the last instruction of a block that does not end itself."""
    cpu.a.rip = wrap_rip(cpu, rip_of(cpu, i))
    cpu.current = i - 1
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_run(cpu: CpuP, i: InstrP) -> cython.void:
    """Before each block's first instruction: a way in that counts, for blocks that may be translated."""
    i.imm += 1
    if i.imm >= cpu.heat_limit:
        # back to the run loop
        cpu.a.rip = cpu.a.regs[BLOCK_RIP]
        cpu.first = cython.NULL
        return
    cpu.first = i + 1
    cpu.current = i + 1
    i[1].fn(cpu, i + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def too_long(cpu: CpuP, i: InstrP) -> cython.void:
    raise_gp(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_block(cpu: CpuP, block: BlockP) -> cython.void:
    cpu.first = block.first
    cpu.a.regs[BLOCK_RIP] = cpu.a.rip
    cpu.current = block.first
    cpu.last_rips[cpu.last_rip_at & 15] = cpu.a.rip
    cpu.last_rip_at += 1
    block.first.fn(cpu, block.first)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bytes_to_limit(cpu: CpuP, rip: uint64_t) -> uint64_t:
    """Bytes of code before the code segment's limit; #GP(0) when there are none."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return PAGE_BYTES
    if rip > cpu.a.seg[CS].limit:
        raise_gp(cpu)
    return cpu.a.seg[CS].limit - rip + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lookup_block(cpu: CpuP) -> BlockP:
    """The block at cpu.a.rip, found or decoded. May fault."""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    rip: uint64_t = cpu.a.rip
    la: uint64_t = cpu.a.seg[CS].base + rip if (cpu.mode & MODE_CODE_MASK) != MODE_CODE64 else rip
    limit: uint64_t = bytes_to_limit(cpu, rip)
    gpa: uint64_t = fetch_gpa(cpu, la)
    mode: uint32_t = cpu.mode & ~(MODE_USER | MODE_STACK32)
    key: uint64_t = gpa | (cython.cast(uint64_t, mode) << 48)
    block: BlockP = cache.buckets[bucket_of(gpa, mode)]
    while block != cython.NULL:
        if (
            block.key == key
            and block.bytes <= limit
            and (block.gpa2 == 0 or second_page_holds(cpu, block, la))
        ):
            break
        block = block.hash_next
    if block == cython.NULL:
        block = build_block(cpu, la, gpa, mode, limit)
    return block


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def known_block(cpu: CpuP, gpa: uint64_t) -> BlockP:
    """The block decoded for the current mode at ``gpa``, within one page; or NULL."""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    mode: uint32_t = cpu.mode & ~(MODE_USER | MODE_STACK32)
    block: BlockP = cache.buckets[bucket_of(gpa, mode)]
    while block != cython.NULL and (
        block.key != gpa | (cython.cast(uint64_t, mode) << 48) or block.gpa2 != 0
    ):
        block = block.hash_next
    return block


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_jump(cpu: CpuP, first: InstrP) -> cython.void:
    """From now on a jump to cpu.a.rip goes straight to ``first``: a block's first instruction, or the
    counter before it."""
    rip: uint64_t = cpu.a.rip
    slot: cython.pointer(JumpEntry) = cython.address(
        cpu.jumps[(rip ^ (rip >> 12)) & (JUMP_CACHE_ENTRIES - 1)]
    )
    slot.rip = rip
    slot.fetch_key = cpu.fetch_key
    slot.first = first


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def second_page_holds(cpu: CpuP, block: BlockP, la: uint64_t) -> cython.bint:
    """Whether the page after the first is still the one that a crossing block was decoded from."""
    return fetch_gpa(cpu, (la | 0xFFF) + 1) == block.gpa2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def code_bytes(cpu: CpuP, gpa: uint64_t, buffer: cython.pointer(uint8_t)) -> cython.pointer(uint8_t):
    """Host address of the code at ``gpa``. Where there is no memory, code reads as all ones."""
    region: RegionP = find_region(cpu.memory, gpa)
    if region == cython.NULL:
        memset(buffer, 0xFF, 16)
        return buffer
    # SAFETY: good to the end of the page: callers read no further
    return region.host + (gpa - region.gpa)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def build_block(cpu: CpuP, la: uint64_t, gpa: uint64_t, mode: uint32_t, limit: uint64_t) -> BlockP:
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    block: BlockP
    i: InstrP
    counter: InstrP
    nothing: uint8_t[16]
    code: cython.pointer(uint8_t) = code_bytes(cpu, gpa, nothing)
    room: cython.int = 16 if code == nothing else PAGE_BYTES - (gpa & 0xFFF)
    at: cython.int = 0
    result: cython.int = DECODED
    if limit < cython.cast(uint64_t, room):
        room = limit
    if cache.block_count >= BLOCK_CAPACITY or cache.instr_count + BLOCK_LIMIT + 2 >= INSTR_CAPACITY:
        flush_blocks(cpu)
    block = cython.address(cache.blocks[cache.block_count])
    memset(block, 0, cython.sizeof(Block))
    counter = cython.address(cache.instrs[cache.instr_count])
    memset(counter, 0, cython.sizeof(Instr))
    counter.fn = count_run
    block.first = counter + 1
    i = block.first
    while result == DECODED and block.count < BLOCK_LIMIT and at < room and at < 240:
        i.offset = at
        result = decode(cpu, mode, code + at, room - at, i)
        if result >= DECODE_TRUNCATED:
            if at == 0:
                decode_crossing(cpu, block, la, mode, limit, code, room, i)
                at = i.length
                i += 1
            break
        at += i.length
        block.count += 1
        i += 1
    memset(i, 0, cython.sizeof(Instr))
    i.offset = at
    i.fn = fall_through
    block.gpa = gpa
    block.key = gpa | (cython.cast(uint64_t, mode) << 48)
    block.bytes = at
    block.is_valid = 1
    cache.block_count += 1
    cache.instr_count += block.count + 2
    cpu.count.blocks_decoded += 1
    link_block(cpu, block, mode)
    return block


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def decode_crossing(
    cpu: CpuP, block: BlockP, la: uint64_t, mode: uint32_t, limit: uint64_t,
    code: cython.pointer(uint8_t), room: cython.int, i: InstrP,
) -> cython.void:  # fmt: skip
    """The first instruction of a block does not end within its page: gather its bytes from both."""
    gathered: uint8_t[32]
    nothing: uint8_t[16]
    second: uint64_t
    available: cython.int = min(room, 15)
    result: cython.int = DECODE_TOO_LONG
    memset(gathered, 0, 32)
    # SAFETY: what the first page still has, at most 15 bytes
    memcpy(gathered, code, available)
    i.offset = 0
    if available < 15:
        if cython.cast(uint64_t, room) >= limit:
            raise_gp(cpu)
        second = fetch_gpa(cpu, (la | 0xFFF) + 1)
        # SAFETY: from the start of a page, or of `nothing`, which has 16 bytes
        memcpy(gathered + available, code_bytes(cpu, second, nothing), 15 - available)
        result = decode(cpu, mode, gathered, min(15, limit), i)
        if result >= DECODE_TRUNCATED and limit < 15:
            raise_gp(cpu)
        block.gpa2 = second
    if result >= DECODE_TRUNCATED:
        memset(i, 0, cython.sizeof(Instr))
        i.fn = too_long
        # no row, as an undefined instruction
        i.entry = ENTRY_LIMIT - 1
        i.length = 15
    block.count = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def link_block(cpu: CpuP, block: BlockP, mode: uint32_t) -> cython.void:
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    at: uint32_t = bucket_of(block.gpa, mode)
    block.hash_next = cache.buckets[at]
    cache.buckets[at] = block
    at = page_bucket(block.gpa)
    block.page_next = cache.pages[at]
    cache.pages[at] = block
    mark_code(cpu, block.gpa)
    if block.gpa2:
        at = page_bucket(block.gpa2)
        block.page2_next = cache.second_pages[at]
        cache.second_pages[at] = block
        mark_code(cpu, block.gpa2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def step_block(cpu: CpuP) -> BlockP:
    """A block of the one instruction at cpu.a.rip, good until the next call. May fault."""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    block: BlockP = cython.address(cache.step)
    i: InstrP = cache.step_instrs
    nothing: uint8_t[16]
    rip: uint64_t = cpu.a.rip
    la: uint64_t = cpu.a.seg[CS].base + rip if (cpu.mode & MODE_CODE_MASK) != MODE_CODE64 else rip
    limit: uint64_t = bytes_to_limit(cpu, rip)
    gpa: uint64_t = fetch_gpa(cpu, la)
    code: cython.pointer(uint8_t) = code_bytes(cpu, gpa, nothing)
    room: cython.int = PAGE_BYTES - (gpa & 0xFFF)
    if limit < cython.cast(uint64_t, room):
        room = limit
    if code == nothing:
        room = 16
    block.first = i
    block.count = 1
    i.offset = 0
    if decode(cpu, cpu.mode & ~(MODE_USER | MODE_STACK32), code, room, i) >= DECODE_TRUNCATED:
        decode_crossing(cpu, block, la, cpu.mode & ~(MODE_USER | MODE_STACK32), limit, code, room, i)
    memset(i + 1, 0, cython.sizeof(Instr))
    i[1].offset = i.length
    i[1].fn = fall_through
    return block
