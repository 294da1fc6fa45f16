"""KVM's paravirtual clock: Linux Documentation/virt/kvm/x86/msr.rst, pvclock.

    0  version, odd while the record changes     4  -
    8  TSC at `system time`                     16  system time, ns of guest time
   24  multiplier, 32.32                        28  shift (signed byte)   29  flags

The TSC counts guest nanoseconds, so the scale is 1: shift 1 left, multiply by one half.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.physical import phys_load, phys_store
from cython.cimports.ringfence.core.x86.state import CpuP
from cython.cimports.ringfence.core.x86.time import CLOCK_REALTIME, clock_ns, guest_ns


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_word(cpu: CpuP, gpa: uint64_t, value: uint64_t) -> cython.bint:
    return phys_store(cpu, gpa, 4, value & cython.cast(uint64_t, 0xFFFF_FFFF))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def begin_update(cpu: CpuP, gpa: uint64_t) -> uint64_t:
    """Make the version odd; returns it."""
    version: uint64_t = 0
    phys_load(cpu, gpa, 4, cython.address(version))
    version |= 1
    store_word(cpu, gpa, version)
    return version


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refresh_clock(cpu: CpuP) -> cython.void:
    gpa: uint64_t = cpu.a.msr.kvm_system_time & ~cython.cast(uint64_t, 3)
    now: uint64_t = guest_ns(cpu)
    tsc: uint64_t = now + cython.cast(uint64_t, cpu.a.lapic.tsc_offset)
    version: uint64_t
    if not cpu.a.msr.kvm_system_time & 1:
        return
    version = begin_update(cpu, gpa)
    store_word(cpu, gpa + 8, tsc)
    store_word(cpu, gpa + 12, tsc >> 32)
    store_word(cpu, gpa + 16, now)
    store_word(cpu, gpa + 20, now >> 32)
    store_word(cpu, gpa + 24, cython.cast(uint32_t, 0x8000_0000))
    store_word(cpu, gpa + 28, 0x101)
    store_word(cpu, gpa, version + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_system_time(cpu: CpuP, value: uint64_t) -> cython.void:
    """Bit 0 turns the record on; the rest is its address."""
    cpu.a.msr.kvm_system_time = value
    refresh_clock(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_wall_clock(cpu: CpuP, value: uint64_t) -> cython.void:
    """Write once to the address: version, seconds, nanoseconds of real time at guest time 0."""
    gpa: uint64_t = value & ~cython.cast(uint64_t, 3)
    boot_ns: uint64_t = clock_ns(CLOCK_REALTIME) - guest_ns(cpu)
    version: uint64_t
    cpu.a.msr.kvm_wall_clock = value
    version = begin_update(cpu, gpa)
    store_word(cpu, gpa + 4, boot_ns // 1000000000)
    store_word(cpu, gpa + 8, boot_ns % 1000000000)
    store_word(cpu, gpa, version + 1)
