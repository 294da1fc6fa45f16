"""The translator's records as `api.translations`: what tools verify, list and name.

Written for a vCPU that stands still. Nothing here is called by translated code.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.memory.map import RegionP, find_region
from cython.cimports.ringfence.core.translate.translation import (
    CANONICAL,
    REGION_DATA_BYTES,
    REGIONS,
    SITE_EXIT,
    SITE_MEMORY,
    SLOT_RECORD,
    TRANSLATION_BUCKETS,
    ExitP,
    Patch,
    SiteP,
    TranslationP,
    TranslatorP,
    end_of_records,
    first_record,
    record_bytes,
    translator_of,
)
from cython.cimports.ringfence.core.x86.state import (
    HOST_JUMPS,
    MODE_CODE64,
    MODE_CODE_MASK,
    SLOT_LIMIT,
    TLB_ENTRIES,
    Cpu,
    CpuP,
    HostJump,
    Slot,
    TlbEntry,
)

from ringfence.api.translations import Exit, Field, Layout, Site, TlbArray, Translations
from ringfence.api.translations import Patch as CodePatch
from ringfence.api.translations import Translation as Block

REGISTERS = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
VIEWS = ("supervisor", "user", "supervisor_ac")
#: by SiteKind
KINDS = ("memory", "interpret", "leave", "vector", "indirect", "exit", "slot")


@cython.cfunc
def address_of(member: cython.p_void) -> object:
    return cython.cast(uint64_t, member)


@cython.cfunc
def fields_of(cpu: CpuP) -> tuple:
    """The context's parts by name; True: translated code writes them."""
    found: list = [
        Field(name, address_of(cython.address(cpu.a.regs[k])), 8, True) for k, name in enumerate(REGISTERS)
    ]
    found += [
        Field("rip", address_of(cython.address(cpu.a.rip)), 8, True),
        Field("fx", address_of(cython.address(cpu.a.fx)), 512, True),
        Field("budgets", address_of(cython.address(cpu.budgets)), 16, True),
        Field("site", address_of(cython.address(cpu.site)), 8, True),
        Field("spare[0]", address_of(cython.address(cpu.spare[0])), 8, True),
        Field("spare[1]", address_of(cython.address(cpu.spare[1])), 8, True),
        Field("jump_target", address_of(cython.address(cpu.jump_target)), 8, True),
        Field("slots", address_of(cython.address(cpu.slots[0])), 4 * SLOT_LIMIT, False),
        Field("slot_count", address_of(cython.address(cpu.slot_count)), 4, True),
        Field("saved_flags", address_of(cython.address(cpu.saved_flags)), 4, True),
        Field("jump_key", address_of(cython.address(cpu.jump_key)), 8, False),
        Field("vector_ready", address_of(cython.address(cpu.vector_ready)), 4, False),
        Field("host_rsp", address_of(cython.address(cpu.host_rsp)), 8, False),
        Field("rflags", address_of(cython.address(cpu.a.rflags)), 8, True),
        Field("inhibit_irq", address_of(cython.address(cpu.a.inhibit_irq)), 1, True),
        Field("kernel_gs_base", address_of(cython.address(cpu.a.msr.kernel_gs_base)), 8, True),
        Field("cpl", address_of(cython.address(cpu.a.cpl)), 1, False),
        Field("pending", address_of(cython.address(cpu.a.lapic.pending)), 4, False),
        Field("inject_vector", address_of(cython.address(cpu.inject_vector)), 4, False),
        Field("window_requested", address_of(cython.address(cpu.window_requested)), 4, False),
        Field("attention", address_of(cython.address(cpu.attention)), 4, False),
    ]
    found += [
        Field(f"{name}.base", address_of(cython.address(cpu.a.seg[k].base)), 8, name == "gs")
        for k, name in enumerate(SEGMENTS)
    ]
    found += [
        Field(f"{name}.selector", address_of(cython.address(cpu.a.seg[k].selector)), 2, False)
        for k, name in enumerate((*SEGMENTS, "ldtr", "tr"))
    ]
    found += [
        Field("cr0", address_of(cython.address(cpu.a.cr0)), 8, False),
        Field("cr2", address_of(cython.address(cpu.a.cr2)), 8, False),
        Field("cr3", address_of(cython.address(cpu.a.cr3)), 8, False),
        Field("cr4", address_of(cython.address(cpu.a.cr4)), 8, False),
    ]
    return tuple(found)


@cython.cfunc
def layout_of(cpu: CpuP, t: TranslatorP) -> object:
    entry: cython.pointer(TlbEntry) = cython.NULL
    jump: cython.pointer(HostJump) = cython.NULL
    slot: cython.pointer(Slot) = cython.NULL
    code: uint64_t = cython.cast(uint64_t, t.code.executable)
    regions: list = [cython.cast(uint64_t, t.regions[k].data) for k in range(REGIONS) if t.regions[k].data]
    start: uint64_t = cython.cast(uint64_t, cpu)
    maps: list = [k for k in range(256) if t.restore[k]]
    routines: dict = {
        t.enter: "enter",
        t.leave_saved: "leave_saved",
        t.leave_called: "leave_called",
        t.reset_vector: "reset_vector",
        t.save_vector: "save_vector",
    }
    for k in maps:
        routines |= {
            t.leave[k]: f"leave_{k:02x}",
            t.callout[k]: f"callout_{k:02x}",
            t.restore_plain[k]: f"restore_plain_{k:02x}",
            t.restore[k]: f"restore_{k:02x}",
        }
    return Layout(
        context=(start, start + cython.sizeof(Cpu)),
        records=(min(regions), max(regions) + REGION_DATA_BYTES),
        code=(code, code + t.code.capacity_bytes),
        fields=fields_of(cpu),
        tlbs=tuple(
            TlbArray(
                f"tlb.{name}.{'write' if k else 'read'}",
                address_of(cython.address(cpu.tlb[view][k][0])),
                view,
                k == 1,
            )
            for view, name in enumerate(VIEWS)
            for k in range(2)
        ),
        tlb_entries=TLB_ENTRIES,
        tlb_entry=(
            cython.sizeof(TlbEntry),
            cython.cast(uint64_t, cython.address(entry.tag)),
            cython.cast(uint64_t, cython.address(entry.addend)),
            cython.cast(uint64_t, cython.address(entry.host_page)),
        ),
        jumps=address_of(cython.address(cpu.host_jumps[0])),
        jump_entries=HOST_JUMPS,
        jump_entry=(
            cython.sizeof(HostJump),
            cython.cast(uint64_t, cython.address(jump.tag)),
            cython.cast(uint64_t, cython.address(jump.host)),
        ),
        slot=(
            cython.sizeof(Slot),
            cython.cast(uint64_t, cython.address(slot.tag)),
            cython.cast(uint64_t, cython.address(slot.addend)),
            cython.cast(uint64_t, cython.address(slot.host_page)),
            cython.cast(uint64_t, cython.address(slot.is_listed)),
            cython.cast(uint64_t, cython.address(slot.credit)),
        ),
        slots=address_of(cython.address(cpu.slots[0])),
        slot_limit=SLOT_LIMIT,
        routines=routines,
        callouts={k: t.callout[k] for k in maps},
        leaves={k: t.leave[k] for k in maps},
        canonical=CANONICAL,
    )


@cython.cfunc
def guest_bytes(cpu: CpuP, gpa: uint64_t, size: uint32_t) -> bytes:
    region: RegionP = find_region(cpu.memory, gpa)
    size = min(size, 4096 - (gpa & 0xFFF))
    if region == cython.NULL:
        return b""
    # SAFETY: regions are whole pages, and what is taken ends within one
    return cython.cast(cython.p_char, region.host + (gpa - region.gpa))[:size]


@cython.cfunc
def site_of(owner: TranslationP, site: SiteP) -> object:
    has_slot: cython.bint = site.kind == SITE_MEMORY and site.slot != cython.NULL
    return Site(
        kind=KINDS[site.kind],
        address=cython.cast(uint64_t, site),
        index=site.index,
        rip=owner.rip + site.instr.offset,
        retry=site.retry,
        resume=site.resume,
        may_resume=site.resume != 0 and site.may_resume and not site.ends,
        is_write=site.is_write != 0,
        slot=address_of(cython.address(site.slot.slot)) if has_slot else 0,
        direct=site.slot.direct if has_slot else 0,
    )


@cython.cfunc
def read_records(owner: TranslationP, at: uint64_t, end: uint64_t, sites: list, exits: list) -> None:
    """A translation's, from ``at`` to ``end``."""
    site: SiteP
    exit: ExitP
    while at < end:
        site = cython.cast(SiteP, at)
        if site.kind == SITE_EXIT:
            exit = cython.cast(ExitP, at)
            target = 0 if exit.target == cython.NULL else exit.target.entry
            exits.append(
                Exit(
                    at, exit.rip, exit.charge, exit.field, exit.stub, exit.convert, exit.convert_field, target
                )
            )  # fmt: skip
        elif site.kind != SLOT_RECORD:
            sites.append(site_of(owner, site))
        at += record_bytes(site.kind)


@cython.cfunc
def records_of(owner: TranslationP) -> tuple:
    """(sites, exits) of a translation: they follow it, and each of its patches."""
    sites: list = []
    exits: list = []
    patch: cython.pointer(Patch) = owner.patches
    start: uint64_t
    read_records(owner, first_record(owner), end_of_records(owner), sites, exits)
    while patch != cython.NULL:
        start = cython.cast(uint64_t, patch) + ((cython.sizeof(Patch) + 15) & ~15)
        read_records(owner, start, cython.cast(uint64_t, patch.records_end), sites, exits)
        patch = patch.next
    return tuple(sites), tuple(exits)


@cython.cfunc
def patches_of(t: TranslatorP, owner: TranslationP) -> tuple:
    found: list = []
    patch: cython.pointer(Patch) = owner.patches
    host: cython.pointer(uint8_t)
    while patch != cython.NULL:
        host = t.code.executable + patch.start
        # SAFETY: [start, end) is code that was emitted for this patch
        found.append(CodePatch(patch.start, cython.cast(cython.p_char, host)[: patch.end - patch.start]))
        patch = patch.next
    return tuple(reversed(found))


@cython.cfunc
def block_of(cpu: CpuP, t: TranslatorP, found: TranslationP) -> object:
    host: cython.pointer(uint8_t) = t.code.executable + found.entry
    sites, exits = records_of(found)
    guest: bytes = guest_bytes(cpu, found.gpa, found.bytes)
    if found.gpa2:
        guest += guest_bytes(cpu, found.gpa2, found.bytes - len(guest))
    return Block(
        rip=found.rip,
        gpa=found.gpa,
        bits=64 if (found.context & MODE_CODE_MASK) == MODE_CODE64 else 32,
        view=found.context >> 4 & 3,
        context=found.context,
        count=found.count,
        map=found.map,
        is_hot=found.is_hot != 0,
        is_twin=found.is_twin != 0,
        entry=found.entry,
        body=found.body,
        guest=guest,
        # SAFETY: [entry, end) is code that was emitted for this translation
        host=cython.cast(cython.p_char, host)[: found.end - found.entry],
        starts=tuple([found.offsets[k] for k in range(found.count)]),
        sites=sites,
        exits=exits,
        patches=patches_of(t, found),
    )


@cython.cfunc
def inspect_translations(cpu: CpuP) -> object:
    t: TranslatorP = translator_of(cpu)
    found: TranslationP
    blocks: list = []
    if t == cython.NULL:
        return None
    for k in range(TRANSLATION_BUCKETS):
        found = t.buckets[k]
        while found != cython.NULL:
            blocks.append(block_of(cpu, t, found))
            if found.twin != cython.NULL:
                blocks.append(block_of(cpu, t, found.twin))
            found = found.hash_next
    blocks.sort(key=lambda block: block.entry)
    return Translations(layout_of(cpu, t), tuple(blocks))
