"""Port input and output: SDM vol. 1, chapter 19; vol. 2, IN OUT INS OUTS.

The permission check (IOPL, then the I/O bitmap of the TSS) is check_io() of task.py.
"""

import cython
from cython.cimports.libc.stdint import (
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import check_write, load, store
from cython.cimports.ringfence.core.x86.operands import (
    get_reg,
    next_rip,
    rip_of,
    set_address_reg,
    set_reg,
    wrap_ea,
)
from cython.cimports.ringfence.core.x86.physical import commit_accesses, io_read, io_write
from cython.cimports.ringfence.core.x86.state import RAX, RCX, RDI, RDX, RSI, CpuP, InstrP
from cython.cimports.ringfence.core.x86.string import is_repeated, source, step, target
from cython.cimports.ringfence.core.x86.task import check_io


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def port_size(i: InstrP) -> cython.int:
    """1, 2 or 4: there is no 8-byte port access."""
    return min(1 << i.width, 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def finish(cpu: CpuP, i: InstrP) -> cython.void:
    cpu.a.rip = next_rip(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_port(cpu: CpuP, i: InstrP, port: uint32_t) -> cython.void:
    size: cython.int = port_size(i)
    check_io(cpu, port, size)
    set_reg(cpu, RAX, io_read(cpu, port, size), size)
    finish(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_port(cpu: CpuP, i: InstrP, port: uint32_t) -> cython.void:
    size: cython.int = port_size(i)
    check_io(cpu, port, size)
    io_write(cpu, port, size, get_reg(cpu, RAX, size))
    finish(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_imm(cpu: CpuP, i: InstrP) -> cython.void:
    read_port(cpu, i, cython.cast(uint8_t, i.imm))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_dx(cpu: CpuP, i: InstrP) -> cython.void:
    read_port(cpu, i, cython.cast(uint16_t, cpu.a.regs[RDX]))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def out_imm(cpu: CpuP, i: InstrP) -> cython.void:
    write_port(cpu, i, cython.cast(uint8_t, i.imm))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def out_dx(cpu: CpuP, i: InstrP) -> cython.void:
    write_port(cpu, i, cython.cast(uint16_t, cpu.a.regs[RDX]))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_ins(cpu: CpuP, i: InstrP) -> cython.void:
    """The target is checked before the port is read: reading a port may have an effect."""
    size: cython.int = port_size(i)
    port: uint32_t = cython.cast(uint16_t, cpu.a.regs[RDX])
    la: uint64_t = target(cpu, i, size, 1)
    check_write(cpu, la, size)
    store(cpu, la, io_read(cpu, port, size), size)
    step(cpu, i, RDI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_outs(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = port_size(i)
    io_write(cpu, cython.cast(uint16_t, cpu.a.regs[RDX]), size, load(cpu, source(cpu, i, size), size))
    step(cpu, i, RSI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def transfer(cpu: CpuP, i: InstrP, is_input: cython.bint) -> cython.void:
    """One turn a run of the instruction: each leaves to the VMM anyway."""
    count: uint64_t = 1
    check_io(cpu, cython.cast(uint16_t, cpu.a.regs[RDX]), port_size(i))
    if is_repeated(i):
        count = wrap_ea(i, cpu.a.regs[RCX])
        if count == 0:
            finish(cpu, i)
            return
    if is_input:
        one_ins(cpu, i)
    else:
        one_outs(cpu, i)
    commit_accesses(cpu)
    if is_repeated(i):
        set_address_reg(cpu, i, RCX, count - 1)
    if count > 1:
        cpu.a.rip = rip_of(cpu, i)
    else:
        finish(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ins(cpu: CpuP, i: InstrP) -> cython.void:
    transfer(cpu, i, True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def outs(cpu: CpuP, i: InstrP) -> cython.void:
    transfer(cpu, i, False)
