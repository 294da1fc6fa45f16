"""CPUID and the CPU models: SDM vol. 2, CPUID; APM vol. 3, appendix E; tables/cpuid.tbl.

A model is a vendor, a signature, how far its leaves go and a set of features. Leaves that depend
on these, or on the state of the processor, are made here; constant ones come from the table.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, strncmp
from cython.cimports.ringfence.core.x86._gen_features import (
    FEATURE_APIC,
    FEATURE_DE,
    FEATURE_FSGSBASE,
    FEATURE_FXSR,
    FEATURE_MCE,
    FEATURE_MMX,
    FEATURE_PAE,
    FEATURE_PCID,
    FEATURE_PGE,
    FEATURE_PSE,
    FEATURE_SMAP,
    FEATURE_SMEP,
    FEATURE_SSE,
    FEATURE_TSC,
    FEATURE_UMIP,
    FEATURE_VME,
    FEATURE_XSAVE,
)
from cython.cimports.ringfence.core.x86.cpuid import (
    FEATURE_WORDS,
    LEAF_LIMIT,
    LINEAR_BITS,
    MODEL_LIMIT,
    PHYSICAL_BITS,
    VENDOR_AMD,
    VENDOR_ANY,
    Leaf,
    Model,
    has_feature,
)
from cython.cimports.ringfence.core.x86.lapic import APIC_BASE_ENABLE
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.state import (
    CR4_DE,
    CR4_FSGSBASE,
    CR4_MCE,
    CR4_OSFXSR,
    CR4_OSXMMEXCPT,
    CR4_OSXSAVE,
    CR4_PAE,
    CR4_PCE,
    CR4_PCIDE,
    CR4_PGE,
    CR4_PSE,
    CR4_PVI,
    CR4_SMAP,
    CR4_SMEP,
    CR4_TSD,
    CR4_UMIP,
    CR4_VME,
    RAX,
    RBX,
    RCX,
    RDX,
    Cpu,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.xsave_state import (
    COMPONENTS,
    FIRST_EXTENDED,
    compacted_bytes,
    component,
    standard_bytes,
    xcr0_mask,
)

from ringfence.core.x86._gen_models import LEAVES, MODELS

models = cython.declare(Model[MODEL_LIMIT])
leaves = cython.declare(Leaf[LEAF_LIMIT])
leaf_count = cython.declare(cython.int, 0)


def load_tables() -> None:
    """Copy the generated tables into C arrays; once, at import."""
    global leaf_count
    k: cython.int
    word: cython.int
    brand: bytes
    label: bytes
    if len(MODELS) > MODEL_LIMIT or len(LEAVES) > LEAF_LIMIT:
        raise AssertionError("the tables have outgrown cpuid.pxd")
    for k, (name, vendor, signature, last_leaf, last_extended, text, words) in enumerate(MODELS):
        label = name.encode().ljust(24, b"\0")
        memcpy(models[k].name, cython.cast(cython.p_char, label), 24)
        models[k].vendor = vendor
        models[k].signature = signature
        models[k].last_leaf = last_leaf
        models[k].last_extended = last_extended
        brand = text.encode().ljust(48, b"\0")
        memcpy(models[k].brand, cython.cast(cython.p_char, brand), 48)
        for word in range(FEATURE_WORDS):
            models[k].features[word] = words[word]
    for k, (vendor, model, leaf, subleaf, *values) in enumerate(LEAVES):
        leaves[k].vendor = vendor
        leaves[k].model = model
        leaves[k].leaf = leaf
        leaves[k].subleaf = subleaf
        for word in range(4):
            leaves[k].value[word] = values[word]
    leaf_count = len(LEAVES)


load_tables()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_model(cpu: CpuP, name: cython.p_const_char) -> cython.bint:
    model: cython.int
    word: cython.int
    for model in range(MODEL_LIMIT):
        if name[0] and strncmp(models[model].name, name, 24) == 0:
            cpu.model = model
            for word in range(FEATURE_WORDS):
                cpu.features[word] = models[model].features[word]
            cpu.a.lapic.physical_bits = PHYSICAL_BITS
            return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def signature_of(cpu: cython.pointer(cython.const[Cpu])) -> uint32_t:
    return models[cpu.model].signature


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_amd(cpu: cython.pointer(cython.const[Cpu])) -> cython.bint:
    return models[cpu.model].vendor == VENDOR_AMD


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def bits_with(cpu: cython.pointer(cython.const[Cpu]), feature: cython.int, bits: uint64_t) -> uint64_t:
    return bits if has_feature(cpu, feature) else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cr4_mask(cpu: cython.pointer(cython.const[Cpu])) -> uint64_t:
    return (
        bits_with(cpu, FEATURE_VME, CR4_VME | CR4_PVI)
        | bits_with(cpu, FEATURE_TSC, CR4_TSD)
        | bits_with(cpu, FEATURE_DE, CR4_DE)
        | bits_with(cpu, FEATURE_PSE, CR4_PSE)
        | bits_with(cpu, FEATURE_PAE, CR4_PAE)
        | bits_with(cpu, FEATURE_MCE, CR4_MCE)
        | bits_with(cpu, FEATURE_PGE, CR4_PGE)
        | bits_with(cpu, FEATURE_MMX, CR4_PCE)
        | bits_with(cpu, FEATURE_FXSR, CR4_OSFXSR)
        | bits_with(cpu, FEATURE_SSE, CR4_OSXMMEXCPT)
        | bits_with(cpu, FEATURE_UMIP, CR4_UMIP)
        | bits_with(cpu, FEATURE_FSGSBASE, CR4_FSGSBASE)
        | bits_with(cpu, FEATURE_PCID, CR4_PCIDE)
        | bits_with(cpu, FEATURE_XSAVE, CR4_OSXSAVE)
        | bits_with(cpu, FEATURE_SMEP, CR4_SMEP)
        | bits_with(cpu, FEATURE_SMAP, CR4_SMAP)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_text(value: cython.pointer(uint32_t), text: cython.p_char) -> cython.void:
    """16 characters of the brand string in EAX EBX ECX EDX."""
    memcpy(value, text, 16)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_vendor(cpu: cython.pointer(cython.const[Cpu]), value: cython.pointer(uint32_t)) -> cython.void:
    """The vendor's name in EBX EDX ECX."""
    text: cython.p_char = b"AuthcAMDenti" if is_amd(cpu) else b"GenuntelineI"
    memcpy(value + 1, text, 12)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_constant(
    cpu: cython.pointer(cython.const[Cpu]), leaf: uint32_t, subleaf: uint32_t, value: cython.pointer(uint32_t)
) -> cython.void:
    k: cython.int
    word: cython.int
    for k in range(leaf_count):
        if (
            leaves[k].leaf == leaf
            and (leaves[k].subleaf < 0 or leaves[k].subleaf == subleaf)
            and (leaves[k].vendor == VENDOR_ANY or leaves[k].vendor == models[cpu.model].vendor)
            and (leaves[k].model < 0 or leaves[k].model == cpu.model)
        ):
            for word in range(4):
                value[word] = leaves[k].value[word]
            return


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def features_1(cpu: cython.pointer(cython.const[Cpu]), value: cython.pointer(uint32_t)) -> cython.void:
    """Leaf 1: one thread, its APIC id, CLFLUSH of 64 bytes; what depends on CR4 and the APIC."""
    value[0] = models[cpu.model].signature
    value[1] = (cpu.a.lapic.id << 24) | (1 << 16) | (8 << 8)
    value[2] = cython.cast(uint32_t, cpu.features[0] >> 32)
    value[3] = cython.cast(uint32_t, cpu.features[0])
    if cpu.a.cr4 & CR4_OSXSAVE:
        value[2] |= 1 << 27
    if not cpu.a.lapic.base_msr & APIC_BASE_ENABLE:
        value[3] &= ~cython.cast(uint32_t, 1 << FEATURE_APIC)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def topology(
    cpu: cython.pointer(cython.const[Cpu]), subleaf: uint32_t, value: cython.pointer(uint32_t)
) -> cython.void:
    """Leaf Bh: one thread a core (level type 1), one core a package (type 2)."""
    value[2] = subleaf & 0xFF
    value[3] = cpu.a.lapic.id
    if subleaf < 2:
        value[1] = 1
        value[2] |= (subleaf + 1) << 8


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsave_area(
    cpu: cython.pointer(cython.const[Cpu]), subleaf: uint32_t, value: cython.pointer(uint32_t)
) -> cython.void:
    """Leaf Dh: what XCR0 can have, how large the areas are, where each component lies."""
    mask: uint64_t = xcr0_mask(cpu)
    if not has_feature(cpu, FEATURE_XSAVE):
        return
    if subleaf == 0:
        value[0] = mask
        value[1] = standard_bytes(cpu.a.xcr0)
        value[2] = standard_bytes(mask)
    elif subleaf == 1:
        value[0] = cython.cast(uint32_t, cpu.features[4] >> 32)
        value[1] = compacted_bytes(cpu.a.xcr0)
    elif subleaf < COMPONENTS and subleaf >= FIRST_EXTENDED and mask >> subleaf & 1:
        value[0] = component(subleaf).bytes
        value[1] = component(subleaf).offset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def query(
    cpu: cython.pointer(cython.const[Cpu]), leaf: uint32_t, subleaf: uint32_t, value: cython.pointer(uint32_t)
) -> cython.void:
    """What CPUID answers. A basic leaf too high is the highest one on Intel, zeros on AMD."""
    model: cython.pointer(Model) = cython.address(models[cpu.model])
    extended: uint32_t = cython.cast(uint32_t, 0x8000_0000)
    k: cython.int
    for k in range(4):
        value[k] = 0
    if leaf >> 8 != 0x40_0000 and leaf > (model.last_extended if leaf >= extended else model.last_leaf):
        if model.vendor == VENDOR_AMD:
            return
        leaf = model.last_leaf
    if leaf == 0:
        value[0] = model.last_leaf
        set_vendor(cpu, value)
    elif leaf == 1:
        features_1(cpu, value)
    elif leaf == 7:
        if subleaf == 0:
            value[0] = 2
            value[1] = cython.cast(uint32_t, cpu.features[1])
            value[2] = cython.cast(uint32_t, cpu.features[1] >> 32)
            value[3] = cython.cast(uint32_t, cpu.features[2])
        elif subleaf == 1:
            value[0] = cython.cast(uint32_t, cpu.features[4])
        elif subleaf == 2:
            value[3] = cython.cast(uint32_t, cpu.features[3] >> 32)
    elif leaf == 0xB:
        topology(cpu, subleaf, value)
    elif leaf == 0xD:
        xsave_area(cpu, subleaf, value)
    elif leaf < extended:
        find_constant(cpu, leaf, subleaf, value)
    elif leaf == extended:
        value[0] = model.last_extended
        if model.vendor == VENDOR_AMD:
            set_vendor(cpu, value)
    elif leaf - extended == 1:
        value[2] = cython.cast(uint32_t, cpu.features[3])
        value[3] = cython.cast(uint32_t, cpu.features[2] >> 32)
        if model.vendor == VENDOR_AMD:
            value[0] = model.signature
    elif leaf - extended <= 4:
        set_text(value, model.brand + 16 * (leaf - extended - 2))
    elif leaf - extended == 8:
        value[0] = PHYSICAL_BITS | (LINEAR_BITS << 8)
    else:
        find_constant(cpu, leaf, subleaf, value)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def answer(cpu: CpuP) -> cython.void:
    value: uint32_t[4]
    query(cpu, cython.cast(uint32_t, cpu.a.regs[RAX]), cython.cast(uint32_t, cpu.a.regs[RCX]), value)
    cpu.a.regs[RAX] = value[0]
    cpu.a.regs[RBX] = value[1]
    cpu.a.regs[RCX] = value[2]
    cpu.a.regs[RDX] = value[3]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cpuid(cpu: CpuP, i: InstrP) -> cython.void:
    answer(cpu)
    next_(cpu, i)
