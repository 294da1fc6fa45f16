# The parts of a virtual CPU's architectural state that are structures of their own.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef struct Segment:
    uint64_t base
    uint32_t limit              # in bytes, granularity applied
    uint32_t attr
    uint16_t selector
    uint16_t pad0
    uint32_t pad1

cdef struct Table:
    uint64_t base
    uint16_t limit
    uint16_t pad0
    uint32_t pad1

# Model-specific registers that have state of their own (the APIC's are in Lapic).
cdef struct Msrs:
    uint64_t efer
    uint64_t star
    uint64_t lstar
    uint64_t cstar
    uint64_t sfmask
    uint64_t kernel_gs_base
    uint64_t tsc_aux
    uint64_t sysenter_cs
    uint64_t sysenter_esp
    uint64_t sysenter_eip
    uint64_t pat
    uint64_t misc_enable
    uint64_t debugctl
    uint64_t kvm_system_time
    uint64_t kvm_wall_clock
    uint64_t mtrr_def_type
    uint64_t mtrr_fixed[11]
    uint64_t mtrr_variable[16]
    uint64_t spec_ctrl
    uint64_t spare[15]

# The FXSAVE image (SDM vol. 1, table 10-2): x87, MMX, MXCSR and XMM live in it.
cdef struct Fxsave:
    uint16_t fcw
    uint16_t fsw
    uint8_t ftw                 # abridged: one bit a register, 1 = not empty
    uint8_t pad0
    uint16_t fop
    uint64_t fip
    uint64_t fdp
    uint32_t mxcsr
    uint32_t mxcsr_mask
    uint8_t st[128]             # ST0..ST7 / MM0..MM7, 16 bytes each
    uint8_t xmm[256]
    uint8_t pad1[96]
