"""Call-outs and exits: the places where translated code is left, and the code around them."""

import cython
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.translate.arena import take
from cython.cimports.ringfence.core.translate.builder import FLAGS_IN_HOST, STUB_LIMIT, BuilderP, StubP
from cython.cimports.ringfence.core.translate.encode import (
    CC_NE,
    CC_S,
    FORM_W,
    EmitterP,
    Operand,
    OperandP,
    absolute,
    join,
    note_field,
    position,
    put8,
    put32,
    put_forward_branch,
    put_jump,
    put_op,
    put_store,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.loops import put_refund
from cython.cimports.ringfence.core.translate.register_map import put_to_canonical
from cython.cimports.ringfence.core.translate.relocation import (
    RELOC_CALLOUT,
    RELOC_JUMP_HOST,
    RELOC_JUMP_TAG,
    RELOC_LEAVE,
    RELOC_TAG,
    WIDTH_LOW,
    note_reloc,
    note_routine,
    put_moving_constant,
    value_of,
)
from cython.cimports.ringfence.core.translate.slots import put_slot_stub
from cython.cimports.ringfence.core.translate.translation import (
    CANONICAL,
    SITE_EXIT,
    SITE_LEAVE,
    Exit,
    ExitP,
    Site,
    SiteP,
)
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import ATTRIBUTE_END
from cython.cimports.ringfence.core.x86.state import INSTR_BYTES, LONGEST_INSTRUCTION, PAGE_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_site(b: BuilderP, kind: cython.int) -> SiteP:
    site: SiteP = cython.cast(SiteP, take(b.t, cython.sizeof(Site)))
    memset(site, 0, cython.sizeof(Site))
    site.kind = kind
    site.owner = b.out
    site.index = b.index
    site.instr = b.i[0]
    site.may_resume = not b.is_counted
    site.is_counted = b.is_counted
    site.ends = entry_info(b.i.entry).attributes & ATTRIBUTE_END != 0 or kind == SITE_LEAVE
    return site


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_exit(b: BuilderP, rip: uint64_t, charge: cython.int) -> ExitP:
    """A direct branch to ``rip`` after ``charge`` instructions."""
    exit: ExitP = cython.cast(ExitP, take(b.t, cython.sizeof(Exit)))
    # an instruction that may go on in the next page depends on that one's mapping too
    is_within: cython.bint = rip & 0xFFF <= PAGE_BYTES - LONGEST_INSTRUCTION
    memset(exit, 0, cython.sizeof(Exit))
    exit.kind = SITE_EXIT
    exit.owner = b.out
    exit.charge = charge
    exit.rip = rip
    exit.is_local = (rip ^ b.out.rip) >> 12 == 0 and is_within and b.out.is_linkable
    exit.sibling = b.out.exits
    b.out.exits = exit
    return exit


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_stub(b: BuilderP, field: cython.pointer(uint8_t)) -> StubP:
    stub: StubP = cython.address(b.stubs[b.stub_count])
    if b.stub_count < STUB_LIMIT - 1:
        b.stub_count += 1
    else:
        b.failed = 1
    stub.field = field
    stub.site = cython.NULL
    stub.exit = cython.NULL
    stub.saves_flags = 0
    stub.leaves = 0
    stub.is_counted = b.is_counted
    stub.has_slot = 0
    stub.second_field = cython.NULL
    return stub


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def later_site(b: BuilderP, field: cython.pointer(uint8_t), site: SiteP) -> cython.void:
    new_stub(b, field).site = site


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def later_leave(b: BuilderP, field: cython.pointer(uint8_t), site: SiteP) -> cython.void:
    stub: StubP = new_stub(b, field)
    stub.site = site
    stub.leaves = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def later_exit(
    b: BuilderP, field: cython.pointer(uint8_t), exit: ExitP, saves_flags: cython.int
) -> cython.void:
    stub: StubP = new_stub(b, field)
    stub.exit = exit
    stub.saves_flags = saves_flags


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_site_address(b: BuilderP, record: cython.p_void) -> cython.void:
    site: Operand = absolute(cython.address(b.cpu.site))
    put_op(cython.address(b.e), FORM_W, 0xC7, 0, cython.address(site))
    put32(cython.address(b.e), cython.cast(int64_t, cython.cast(uint64_t, record)))
    note_field(cython.address(b.e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_callout(b: BuilderP, site: SiteP) -> cython.void:
    site.place = position(cython.address(b.e))
    put_site_address(b, site)
    put_jump(cython.address(b.e), b.t.callout[b.out.map])
    note_routine(b, RELOC_CALLOUT)
    site.resume = position(cython.address(b.e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_charge(b: BuilderP, charge: cython.int) -> cython.void:
    """Take the instructions done off the budget; the sign flag then says that it is used up.

    There are four counters, that blocks which follow one another need not wait for each other's store.
    """
    budget: Operand = absolute(cython.address(b.cpu.budgets[(b.out.rip >> 4) & 3]))
    if charge * INSTR_BYTES < 128:
        put_op(cython.address(b.e), 0, 0x83, 5, cython.address(budget))
        put8(cython.address(b.e), charge * INSTR_BYTES)
    else:
        put_op(cython.address(b.e), 0, 0x81, 5, cython.address(budget))
        put32(cython.address(b.e), charge * INSTR_BYTES)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_exit(b: BuilderP, exit: ExitP) -> cython.void:
    """Leave for the exit's target: by way of the run loop until it is known, or when the budget is out."""
    put_way_out(b, exit, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_way_out(b: BuilderP, exit: ExitP, is_shadowed: cython.bint) -> cython.void:
    """In an interrupt shadow the next instruction comes first, whatever is left of the budget."""
    e: EmitterP = cython.address(b.e)
    poll: cython.pointer(uint8_t) = cython.NULL
    miss: cython.pointer(uint8_t) = cython.NULL
    shadow: Operand = absolute(cython.address(b.cpu.a.inhibit_irq))
    put_charge(b, exit.charge)
    if not is_shadowed:
        poll = put_forward_branch(e, CC_S)
    if exit.is_local:
        put8(e, 0xE9)
        exit.field = position(e)
        put32(e, 0)
    else:
        miss = put_jump_by_cache(b, exit.rip)
    exit.stub = position(e)
    if poll != cython.NULL:
        join(e, poll)
    if miss != cython.NULL:
        join(e, miss)
    if is_shadowed:
        put_op(e, 0, 0xC6, 0, cython.address(shadow))
        put8(e, 1)
    put_site_address(b, exit)
    put_jump(e, b.t.leave[b.out.map])
    note_routine(b, RELOC_LEAVE)
    if b.out.map != CANONICAL and exit.is_local:
        exit.convert = position(e)
        put_to_canonical(b)
        put8(e, 0xE9)
        exit.convert_field = position(e)
        put32(e, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_jump_by_cache(b: BuilderP, rip: uint64_t) -> cython.pointer(uint8_t):
    """To a constant address, if the jump cache knows it; the branch for when it does not."""
    e: EmitterP = cython.address(b.e)
    key: Operand = absolute(cython.address(b.cpu.jump_key))
    tag: Operand = absolute(cython.cast(cython.p_void, value_of(b.cpu, RELOC_JUMP_TAG, rip)))
    host: Operand = absolute(cython.cast(cython.p_void, value_of(b.cpu, RELOC_JUMP_HOST, rip)))
    miss: cython.pointer(uint8_t)
    put_moving_constant(b, b.s0, RELOC_TAG, rip)
    put_op(e, FORM_W, 0x33, b.s0, cython.address(key))
    put_op(e, FORM_W, 0x3B, b.s0, cython.address(tag))
    note_reloc(b, RELOC_JUMP_TAG, WIDTH_LOW, rip)
    miss = put_forward_branch(e, CC_NE)
    put_host_of_jump(b, cython.address(host))
    note_reloc(b, RELOC_JUMP_HOST, WIDTH_LOW, rip)
    put_jump_to_host(b)
    return miss


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_host_of_jump(b: BuilderP, host: OperandP) -> cython.void:
    """To the translation whose canonical entry ``host`` holds, or s1 = that."""
    if b.out.map == CANONICAL:
        put_op(cython.address(b.e), 0, 0xFF, 4, host)
    else:
        put_op(cython.address(b.e), FORM_W, 0x8B, b.s1, host)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_jump_to_host(b: BuilderP) -> cython.void:
    """The way there from another register map, after put_host_of_jump()."""
    go: Operand = absolute(cython.address(b.cpu.jump_target))
    if b.out.map != CANONICAL:
        put_store(cython.address(b.e), b.s1, cython.address(b.cpu.jump_target))
        put_to_canonical(b)
        put_op(cython.address(b.e), 0, 0xFF, 4, cython.address(go))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_resume(b: BuilderP, first_stub: cython.int) -> cython.void:
    """The instruction whose call-outs are the stubs from ``first_stub`` on is done here."""
    k: cython.int
    for k in range(first_stub, b.stub_count):
        if b.stubs[k].site != cython.NULL:
            b.stubs[k].site.resume = position(cython.address(b.e))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_stubs(b: BuilderP) -> cython.void:
    e: EmitterP = cython.address(b.e)
    stub: StubP
    k: cython.int
    k = 0
    # a slot's stub adds stubs of its own
    while k < b.stub_count:
        stub = cython.address(b.stubs[k])
        if stub.field != cython.NULL:
            join(e, stub.field)
        if stub.has_slot:
            put_slot_stub(b, stub)
        elif stub.exit != cython.NULL:
            b.flags = FLAGS_IN_HOST
            save_flags(b, stub.saves_flags)
            if stub.is_counted:
                put_refund(b)
            put_exit(b, stub.exit)
        else:
            put_site_address(b, stub.site)
            put_jump(e, b.t.leave[b.out.map] if stub.leaves else b.t.callout[b.out.map])
            note_routine(b, RELOC_LEAVE if stub.leaves else RELOC_CALLOUT)
        k += 1
