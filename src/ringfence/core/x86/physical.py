"""Guest memory by physical address: RAM, ROM, the local APIC's page, or the VMM.

An access that the VMM must decide leaves in the middle of an instruction and is replayed: the
answer is kept in `cpu.replay`, the instruction starts again from its beginning and finds it there
(KVM's mmio fragments, in the small).
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.exits import EXIT_FAIL, EXIT_IO, EXIT_IPI, EXIT_MMIO
from cython.cimports.ringfence.core.memory.map import PAGE_DIRTY, PAGE_HAS_CODE, RegionP, find_region
from cython.cimports.ringfence.core.x86.code_pages import code_written
from cython.cimports.ringfence.core.x86.faults import leave
from cython.cimports.ringfence.core.x86.lapic import lapic_claims, lapic_read, lapic_write
from cython.cimports.ringfence.core.x86.state import (
    REPLAY_LIMIT,
    CpuP,
    Replay,
)
from cython.cimports.ringfence.core.x86.time import guest_ns

PAGE_MASK = cython.declare(uint64_t, 0xFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def phys_load(cpu: CpuP, gpa: uint64_t, size: cython.int, value: cython.pointer(uint64_t)) -> cython.bint:
    """Page-table reads: plain RAM or nothing; ``gpa`` is aligned to ``size``."""
    region: RegionP = find_region(cpu.memory, gpa)
    if region == cython.NULL:
        return False
    # SAFETY: an aligned entry in a region, which is whole pages
    value[0] = peek(region.host + (gpa - region.gpa), size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def phys_store(cpu: CpuP, gpa: uint64_t, size: cython.int, value: uint64_t) -> cython.bint:
    region: RegionP = find_region(cpu.memory, gpa)
    if region == cython.NULL or region.is_rom:
        return False
    if region.flags[(gpa - region.gpa) >> 12] & PAGE_HAS_CODE:
        code_written(cpu, gpa, size)
    region.flags[(gpa - region.gpa) >> 12] |= PAGE_DIRTY
    # SAFETY: as in the load: callers cut accesses at pages, and regions are whole pages
    poke(region.host + (gpa - region.gpa), value, size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def peek(host: cython.pointer(cython.const[uint8_t]), size: cython.int) -> uint64_t:
    value: uint64_t = 0
    memcpy(cython.address(value), host, size)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def poke(host: cython.pointer(uint8_t), value: uint64_t, size: cython.int) -> cython.void:
    memcpy(host, cython.address(value), size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gpa_load(cpu: CpuP, gpa: uint64_t, size: cython.int) -> uint64_t:
    """A data access within one page at ``gpa``: RAM, ROM, the local APIC, or the VMM."""
    region: RegionP = find_region(cpu.memory, gpa)
    if region != cython.NULL:
        # SAFETY: the access is within one page, and regions are whole pages
        return peek(region.host + (gpa - region.gpa), size)
    if lapic_claims(cython.address(cpu.a.lapic), gpa):
        if size < 4 or gpa & 3:
            return lapic_read(cython.address(cpu.a.lapic), gpa & 0xFF0, guest_ns(cpu)) >> (
                8 * (gpa & 15) & 31
            )
        return lapic_read(cython.address(cpu.a.lapic), gpa & PAGE_MASK, guest_ns(cpu))
    cpu.count.mmio += 1
    return replayed(cpu, gpa, size, 0, 0, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gpa_store(cpu: CpuP, gpa: uint64_t, value: uint64_t, size: cython.int) -> cython.void:
    region: RegionP = find_region(cpu.memory, gpa)
    if region != cython.NULL:
        if not region.is_rom:
            if region.flags[(gpa - region.gpa) >> 12] & PAGE_HAS_CODE:
                code_written(cpu, gpa, size)
            region.flags[(gpa - region.gpa) >> 12] |= PAGE_DIRTY
            # SAFETY: as in the load: callers cut accesses at pages, and regions are whole pages
            poke(region.host + (gpa - region.gpa), value, size)
    elif lapic_claims(cython.address(cpu.a.lapic), gpa):
        if size >= 4 and gpa & 15 == 0:
            if lapic_write(cython.address(cpu.a.lapic), gpa & PAGE_MASK, value, guest_ns(cpu)):
                cpu.exit.reason = EXIT_IPI
            cpu.attention = 1
    else:
        cpu.count.mmio += 1
        replayed(cpu, gpa, size, 1, 0, value)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def replayed(
    cpu: CpuP, address: uint64_t, size: cython.int, is_write: cython.int, is_io: cython.int, data: uint64_t
) -> uint64_t:
    """The answer to an access that the VMM decides: from the record, or by leaving to ask."""
    slot: cython.pointer(Replay)
    if cpu.replay_next < cpu.replay_count:
        slot = cython.address(cpu.replay[cpu.replay_next])
        cpu.replay_next += 1
        return slot.data
    if cpu.replay_count >= REPLAY_LIMIT:
        cpu.replay_count = 0
        leave(cpu, EXIT_FAIL)
    slot = cython.address(cpu.replay[cpu.replay_count])
    cpu.replay_count += 1
    slot.is_done = 0
    slot.is_write = is_write
    cpu.exit.address = address
    cpu.exit.size = size
    cpu.exit.is_write = is_write
    cpu.exit.data = data
    leave(cpu, EXIT_IO if is_io else EXIT_MMIO)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_accesses(cpu: CpuP) -> cython.void:
    """The instruction (or one turn of a repeated one) is done: forget its replay record."""
    cpu.replay_count = 0
    cpu.replay_next = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def io_read(cpu: CpuP, port: uint32_t, size: cython.int) -> uint64_t:
    cpu.count.io += 1
    return replayed(cpu, port, size, 0, 1, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def io_write(cpu: CpuP, port: uint32_t, size: cython.int, value: uint64_t) -> cython.void:
    cpu.count.io += 1
    replayed(cpu, port, size, 1, 1, value)
