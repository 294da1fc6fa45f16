"""Pages with decoded code on them, and what happens when they are written: self-modifying code.

A page with blocks is kept out of the write TLB, so that every write there comes to
`code_written`, which drops just the blocks it touches, even the one that is running: its
instructions are turned into `stale`, which looks the code up again. SDM vol. 3, 11.6.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.memory.map import PAGE_HAS_CODE, RegionP, find_region
from cython.cimports.ringfence.core.x86.blocks import (
    BlockCacheP,
)
from cython.cimports.ringfence.core.x86.code_pages import bucket_of, page_bucket
from cython.cimports.ringfence.core.x86.operands import dispatch, rip_of, wrap_rip
from cython.cimports.ringfence.core.x86.state import (
    PAGE_BYTES,
    BlockP,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.tlb import drop_writes, new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stale(cpu: CpuP, i: InstrP) -> cython.void:
    """An instruction of a dropped block: go on from here with the code as it is now."""
    cpu.a.rip = wrap_rip(cpu, rip_of(cpu, i))
    cpu.current = i - 1
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mark_code(cpu: CpuP, gpa: uint64_t) -> cython.void:
    """From now on a write to this page comes to code_written()."""
    region: RegionP = find_region(cpu.memory, gpa)
    page: uint64_t
    if region == cython.NULL:
        return
    page = (gpa - region.gpa) >> 12
    if not region.flags[page] & PAGE_HAS_CODE:
        region.flags[page] |= PAGE_HAS_CODE
        drop_writes(cpu, gpa & ~cython.cast(uint64_t, 0xFFF))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_blocks(cpu: CpuP) -> cython.void:
    """Drop everything. Only from the run loop: no block may be running."""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    k: uint32_t
    for k in range(cache.block_count):
        unmark_code(cpu, cache.blocks[k].gpa)
        if cache.blocks[k].gpa2:
            unmark_code(cpu, cache.blocks[k].gpa2)
    memset(cache.buckets, 0, cython.sizeof(cache.buckets))
    memset(cache.pages, 0, cython.sizeof(cache.pages))
    memset(cache.second_pages, 0, cython.sizeof(cache.second_pages))
    cache.block_count = 0
    cache.instr_count = 0
    cpu.count.block_flushes += 1
    new_generation(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unmark_code(cpu: CpuP, gpa: uint64_t) -> cython.void:
    region: RegionP = find_region(cpu.memory, gpa)
    if region == cython.NULL or (cpu.translator != cython.NULL and cpu.translated_written(cpu, gpa, 0)):
        return
    region.flags[(gpa - region.gpa) >> 12] &= ~cython.cast(uint8_t, PAGE_HAS_CODE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_block(cpu: CpuP, block: BlockP) -> cython.void:
    """Take the block out of the hash and make its instructions stale; page lists are the caller's."""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    link: cython.pointer(BlockP) = cython.address(cache.buckets[bucket_of(block.gpa, block.key >> 48)])
    k: cython.int
    if not block.is_valid:
        return
    while link[0] != cython.NULL:
        if link[0] == block:
            link[0] = block.hash_next
            break
        link = cython.address(link[0].hash_next)
    block.is_valid = 0
    for k in range(block.count + 1):
        block.first[k].fn = stale
    cpu.count.blocks_invalidated += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_on_page(cpu: CpuP, gpa: uint64_t, size: uint64_t, is_second: cython.bint) -> cython.bint:
    """Drop the blocks of one page list that overlap [gpa, gpa+size); are others left on the page?"""
    cache: BlockCacheP = cython.cast(BlockCacheP, cpu.blocks)
    link: cython.pointer(BlockP)
    block: BlockP
    start: uint64_t
    length: uint64_t
    remains: cython.bint = False
    if is_second:
        link = cython.address(cache.second_pages[page_bucket(gpa)])
    else:
        link = cython.address(cache.pages[page_bucket(gpa)])
    while link[0] != cython.NULL:
        block = link[0]
        start = block.gpa2 if is_second else block.gpa
        if start >> 12 == gpa >> 12:
            length = block.bytes
            if is_second:
                length -= PAGE_BYTES - (block.gpa & 0xFFF)
            if not block.is_valid or (start < gpa + size and gpa < start + length):
                drop_block(cpu, block)
                if is_second:
                    link[0] = block.page2_next
                else:
                    link[0] = block.page_next
                continue
            remains = True
        link = cython.address(block.page2_next) if is_second else cython.address(block.page_next)
    return remains


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def code_written(cpu: CpuP, gpa: uint64_t, size: uint64_t) -> cython.void:
    """[gpa, gpa+size) is being written: drop the blocks there, page by page."""
    end: uint64_t = gpa + size
    piece: uint64_t
    before: uint64_t = cpu.count.blocks_invalidated
    remains: cython.bint
    cpu.count.code_writes += 1
    while gpa < end:
        piece = min(end - gpa, PAGE_BYTES - (gpa & 0xFFF))
        remains = drop_on_page(cpu, gpa, piece, False)
        remains = drop_on_page(cpu, gpa, piece, True) or remains
        if cpu.translator != cython.NULL:
            remains = cpu.translated_written(cpu, gpa, piece) or remains
        if not remains:
            unmark_code(cpu, gpa)
        gpa += piece
    if cpu.count.blocks_invalidated != before:
        new_generation(cpu)
