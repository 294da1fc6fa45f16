# CPU models and the CPUID instruction.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum Vendor:
    VENDOR_ANY = 0
    VENDOR_INTEL = 1
    VENDOR_AMD = 2

cdef enum:
    MODEL_LIMIT = 32
    LEAF_LIMIT = 64
    PHYSICAL_BITS = 40
    LINEAR_BITS = 48
    FEATURE_WORDS = 5

cdef struct Model:
    char name[24]
    int vendor
    uint32_t signature
    uint32_t last_leaf
    uint32_t last_extended
    uint64_t features[5]
    char brand[48]

cdef struct Leaf:
    int vendor
    int model                   # -1: any
    int subleaf                 # -1: any
    uint32_t leaf
    uint32_t value[4]           # EAX EBX ECX EDX

# Make `cpu` one of the named model: its features, its physical address width. False: no such model.
cdef bint set_model(Cpu* cpu, const char* name) noexcept nogil
cdef uint32_t signature_of(const Cpu* cpu) noexcept nogil
cdef bint is_amd(const Cpu* cpu) noexcept nogil
# The bits of CR4 that the model's features allow.
cdef uint64_t cr4_mask(const Cpu* cpu) noexcept nogil
cdef void query(const Cpu* cpu, uint32_t leaf, uint32_t subleaf, uint32_t* value) noexcept nogil
cdef void cpuid(Cpu* cpu, Instr* i) noexcept nogil

cdef inline bint has_feature(const Cpu* cpu, int feature) noexcept nogil:
    return (cpu.features[feature >> 6] >> (feature & 63)) & 1
