"""One vCPU's translator: made when the vCPU first runs under it, and what it counts."""

import cython
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.ringfence.core.host.code_buffer import close_code_buffer, open_code_buffer
from cython.cimports.ringfence.core.host.low_memory import map_low, unmap_low
from cython.cimports.ringfence.core.translate.callout import callout, refill_budgets
from cython.cimports.ringfence.core.translate.links import translated_written
from cython.cimports.ringfence.core.translate.routines import put_routines
from cython.cimports.ringfence.core.translate.stored import forget_store
from cython.cimports.ringfence.core.translate.translation import (
    CLASS_COPY,
    CLASS_EMULATE,
    CLASS_EXIT,
    CLASS_REWRITE,
    REGION_CODE_BYTES,
    REGION_DATA_BYTES,
    REGIONS,
    ROUTINE_BYTES,
    Translation,
    Translator,
    TranslatorP,
    translator_of,
)
from cython.cimports.ringfence.core.x86.decode_table import ENTRY_LIMIT
from cython.cimports.ringfence.core.x86.state import INSTR_BYTES, Cpu, CpuP
from cython.cimports.ringfence.core.x86.thunk import __get_cpuid_count
from cython.cimports.ringfence.core.x86.tlb import empty_host_jumps

from ringfence.errors import HostError

#: runs of a block before it is translated
THRESHOLD = 16
#: instructions between two looks at the clock
BUDGET = 65536
#: kinds of call-outs, by SiteKind
KINDS = ((0, "memory"), (1, "interpret"), (2, "leave"), (3, "vector"), (6, "slot"))


@cython.cfunc
@cython.exceptval(check=False)
def host_has_bmi2() -> cython.bint:
    eax: cython.uint = 0
    ebx: cython.uint = 0
    ecx: cython.uint = 0
    edx: cython.uint = 0
    __get_cpuid_count(
        7, 0, cython.address(eax), cython.address(ebx), cython.address(ecx), cython.address(edx)
    )
    return ebx >> 8 & 1


@cython.cfunc
@cython.exceptval(-1, check=False)
def new_translator(cpu: CpuP) -> cython.int:
    t = cython.cast(TranslatorP, calloc(1, cython.sizeof(Translator)))
    k: cython.int
    if t == cython.NULL:
        raise HostError("no memory for a translator")
    open_code_buffer(cython.address(t.code), ROUTINE_BYTES + REGIONS * REGION_CODE_BYTES)
    for k in range(REGIONS):
        t.regions[k].code_at = ROUTINE_BYTES + k * REGION_CODE_BYTES
    # the other regions get memory when they are needed
    t.regions[0].data = cython.cast(cython.p_uchar, map_low(REGION_DATA_BYTES))
    t.has_bmi2 = host_has_bmi2()
    cpu.heat_limit = THRESHOLD
    t.budget = BUDGET * INSTR_BYTES
    cpu.translator = t
    cpu.translated_written = translated_written
    refill_budgets(cpu)
    empty_host_jumps(cpu)
    put_routines(cpu, t, callout)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def free_translator(cpu: CpuP) -> cython.void:
    k: cython.int
    t: TranslatorP = translator_of(cpu)
    if t != cython.NULL:
        close_code_buffer(cython.address(t.code))
        forget_store(t)
        for k in range(REGIONS):
            unmap_low(t.regions[k].data, REGION_DATA_BYTES)
        free(t)
        cpu.translator = cython.NULL


@cython.cfunc
@cython.exceptval(check=False)
def tune_translator(
    cpu: CpuP, threshold: cython.int, has_exact_flags: cython.bint, instructions: cython.int
) -> cython.void:
    t: TranslatorP = translator_of(cpu)
    if t != cython.NULL:
        cpu.heat_limit = threshold - 1
        t.exact_flags = has_exact_flags
        t.budget = max(0, min(instructions, BUDGET)) * INSTR_BYTES
        refill_budgets(cpu)


@cython.cfunc
def translation_key(cpu: CpuP) -> bytes:
    features = [cpu.features[k] for k in range(8)]
    sizes = [cython.sizeof(Cpu), cython.sizeof(Translation)]
    t: TranslatorP = translator_of(cpu)
    patches: bool = t != cython.NULL and t.patch_after != 0
    return repr((features, sizes, host_has_bmi2(), patches)).encode()


@cython.cfunc
@cython.exceptval(check=False)
def set_patch_after(cpu: CpuP, count: cython.uint) -> cython.void:
    t: TranslatorP = translator_of(cpu)
    if t != cython.NULL:
        t.patch_after = count


@cython.cfunc
def translator_counters(cpu: CpuP) -> dict:
    t: TranslatorP = translator_of(cpu)
    if t == cython.NULL:
        return {}
    c = cython.address(t.count)
    k: cython.int
    # by SiteKind, whose names can't index an array
    found: dict = {
        "translations": c.translations,
        "translated_instructions": c.instructions,
        "translated_guest_bytes": c.guest_bytes,
        "translated_host_bytes": c.host_bytes,
        "translations_hot": c.hot,
        "translations_replicated": c.replicas,
        "translations_from_store": c.stored,
        "translations_invalidated": c.invalidated,
        "translation_regions_evicted": c.evicted_regions,
        "translation_links": c.links,
        "translation_unlinks": c.unlinks,
        "translation_entries": c.entries,
        "interpreted_blocks": c.interpreted_blocks,
        "patches": c.patches,
        "patches_in_place": c.patches_in_place,
        "instructions_in_place": max(c.in_place, 0),
        "probe_refills": c.refills,
        "callouts_memory": c.callouts[0] - c.refills,
        "callouts_interpret": c.callouts[1],
        "callouts_leave": c.callouts[2],
        "callouts_vector": c.callouts[3],
        "callouts_slot": c.callouts[6],
    }
    for k, name in KINDS:
        found[f"callouts_{name}_sampled"] = c.sampled[k]
        found[f"callouts_{name}_sampled_ns"] = c.sampled_ns[k]
    return found


@cython.cfunc
def row_counters(cpu: CpuP) -> dict:
    """By the number of the row; only rows and counts that are not 0."""
    t: TranslatorP = translator_of(cpu)
    found: dict = {}
    k: cython.int
    if t == cython.NULL:
        return found
    for k in range(ENTRY_LIMIT):
        row = cython.address(t.rows[k])
        counts = {
            "copy": row.translated[CLASS_COPY],
            "rewrite": row.translated[CLASS_REWRITE],
            "emulate": row.translated[CLASS_EMULATE],
            "exit": row.translated[CLASS_EXIT],
            "missed": row.called[0],
            "emulated": row.called[1],
            "exited": row.called[2],
            "patched": row.patched,
            "sampled": row.sampled,
            "sampled_ns": row.sampled_ns,
        }
        counts = {name: count for name, count in counts.items() if count}
        if counts:
            found[k] = counts
    return found
