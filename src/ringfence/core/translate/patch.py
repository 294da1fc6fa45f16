"""Binary patching: a call-out that turned hot is replaced with host code that does its instruction.

Only the translated copy changes; the guest's code is as it was. What fits takes the call-out's place.
The rest is emitted behind the region's last translation, and the place becomes a jump there. Records and
code of a patch are in the region of the translation that they belong to, and go with it.
"""

import cython
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.translate.arena import take
from cython.cimports.ringfence.core.translate.builder import FLAGS_SAVED, Builder, BuilderP
from cython.cimports.ringfence.core.translate.encode import position, put_jump
from cython.cimports.ringfence.core.translate.lowering import FLAGS_ALL, lowering_of
from cython.cimports.ringfence.core.translate.register_map import use_map
from cython.cimports.ringfence.core.translate.sensitive import put_sensitive
from cython.cimports.ringfence.core.translate.sites import put_stubs, set_resume
from cython.cimports.ringfence.core.translate.translation import (
    CALLOUT_BYTES,
    PATCH_BYTES,
    PATCH_DATA_BYTES,
    REGION_CODE_BYTES,
    REGION_DATA_BYTES,
    Patch,
    SiteP,
    TranslatorP,
)
from cython.cimports.ringfence.core.translate.windows import close_windows
from cython.cimports.ringfence.core.x86.state import MODE_CODE64, MODE_CODE_MASK, MODE_STACK32, CpuP

PREFIX = cython.declare(cython.int, 0x66)
NOP = cython.declare(cython.int, 0x90)
JMP = cython.declare(cython.int, 0xE9)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def patch_callout(cpu: CpuP, t: TranslatorP, site: SiteP) -> cython.void:
    b = cython.declare(Builder)
    region = cython.address(t.regions[site.owner.region])
    current: uint32_t = t.current
    data_used: uint32_t = region.data_used
    if (
        region.code_used + PATCH_BYTES > REGION_CODE_BYTES
        or region.data_used + PATCH_DATA_BYTES > REGION_DATA_BYTES
    ):
        return
    b.cpu = cpu
    b.t = t
    b.e.start = t.code.writable
    b.e.at = t.code.writable + region.code_at + region.code_used
    # records are taken from the owner's region
    t.current = site.owner.region
    if not emit(cython.address(b), site):
        region.data_used = data_used
    t.current = current


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_builder(b: BuilderP, site: SiteP) -> cython.void:
    """As the block's was at this instruction: its flags have been put by, and no window is open."""
    b.out = site.owner
    b.i = cython.address(site.instr)
    b.index = site.index
    b.count = site.index + 1
    b.is_64 = (b.cpu.mode & MODE_CODE_MASK) == MODE_CODE64
    b.is_stack32 = b.cpu.mode & MODE_STACK32 != 0
    b.is_hot = False
    b.is_loop = False
    b.is_counted = False
    b.loop_end = -1
    b.loop_exit = cython.NULL
    b.has_windows = False
    b.is_s1_used = 0
    b.flags = FLAGS_SAVED
    b.stub_count = 0
    b.failed = 0
    b.e.is_evex = 0
    # no field is noted
    b.e.begin = b.e.at
    b.e.fields = b.fields
    b.e.field_count = 0
    b.e.field_limit = 0
    b.reloc_count = 0
    b.tlb_read = b.cpu.tlb_read
    b.tlb_write = b.cpu.tlb_write
    b.live_in[b.index] = FLAGS_ALL
    b.live_out[b.index] = FLAGS_ALL
    use_map(b, b.out.map)
    close_windows(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_padding(at: cython.pointer(uint8_t), size: uint32_t) -> cython.void:
    """No-operations of up to four bytes, that are quick to get past."""
    length: uint32_t
    while size:
        length = min(size, 4)
        # SAFETY: the caller's `size` bytes
        memset(at, PREFIX, length - 1)
        at[length - 1] = NOP
        at += length
        size -= length


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emit(b: BuilderP, site: SiteP) -> cython.bint:
    """False when nothing is to be kept in the region."""
    start: uint32_t = position(cython.address(b.e))
    length: uint32_t
    region = cython.address(b.t.regions[site.owner.region])
    # SAFETY: the call-out's CALLOUT_BYTES, in the writable mapping
    place: cython.pointer(uint8_t) = b.t.code.writable + site.place
    patch: cython.pointer(Patch) = cython.cast(cython.pointer(Patch), take(b.t, cython.sizeof(Patch)))
    open_builder(b, site)
    if not put_sensitive(b, lowering_of(site.instr.entry).kind):
        return False
    # a translation with patches is not copied
    b.out.is_movable = 0
    b.t.count.patches += 1
    b.t.rows[site.instr.entry].patched += 1
    length = position(cython.address(b.e)) - start
    if not site.ends and b.stub_count == 0 and length <= CALLOUT_BYTES:
        memcpy(place, b.t.code.writable + start, length)
        put_padding(place + length, CALLOUT_BYTES - length)
        b.t.count.patches_in_place += 1
        return False
    set_resume(b, 0)
    if not site.ends:
        put_jump(cython.address(b.e), site.resume)
    put_stubs(b)
    patch.start = start
    patch.end = position(cython.address(b.e))
    patch.records_end = region.data + region.data_used
    patch.next = site.owner.patches
    site.owner.patches = patch
    region.code_used = (patch.end - region.code_at + 15) & ~cython.cast(uint32_t, 15)
    b.t.count.host_bytes += patch.end - start
    put_padding(place, CALLOUT_BYTES - 5)
    place[CALLOUT_BYTES - 5] = JMP
    cython.cast(cython.pointer(int32_t), place + CALLOUT_BYTES - 4)[0] = start - site.place - CALLOUT_BYTES
    return True
