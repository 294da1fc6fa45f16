# The parts of a virtual CPU's architectural state that are structures of their own.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

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

# What follows the legacy region in an XSAVE area: the header, then the components in the compacted form with
# AVX and AVX-512 all present (SDM vol. 1, 13.4.2 and 13.4.3). Offsets are those from the Fxsave before it.
cdef struct XsaveHeader:
    uint64_t present            # XSTATE_BV
    uint64_t layout             # XCOMP_BV
    uint64_t reserved[6]

cdef struct VectorHigh:
    uint8_t ymm[256]            # 576: bits 128 to 255 of registers 0 to 15
    uint64_t opmask[8]          # 832
    uint8_t zmm[512]            # 896: bits 256 to 511 of registers 0 to 15
    uint8_t hi16[1024]          # 1408: registers 16 to 31

# -- derived state --

cdef struct TlbEntry:
    uint64_t tag                # linear page address; an empty entry holds another index's
    uint64_t addend             # host address - linear address
    uint64_t host_page          # host address of the page: tag + addend
    uint64_t page               # guest-physical page address | TLB_GLOBAL TLB_LARGE

cdef enum:
    TLB_GLOBAL = 1
    TLB_LARGE = 2               # part of a large page: INVLPG may have to drop several entries

#  The TLB entry that one place in translated code used last. Slots that hold something are listed,
#  so that a flush of the TLB empties them.
cdef struct Slot:
    uint64_t tag                # as in TlbEntry
    uint64_t addend
    uint64_t host_page
    uint32_t is_listed
    int32_t credit              # misses until it is asked whether the slot is of any use

cdef enum:
    SLOT_LIMIT = 4096
    FILL_LIMIT = 2048

#  Accesses of the running instruction that had to leave to the VMM, and their answers: the
#  instruction is run again from its start and finds them here, in order.
cdef enum:
    REPLAY_LIMIT = 64

cdef struct Replay:
    uint64_t address
    uint64_t data
    uint8_t size
    uint8_t is_write
    uint8_t is_io
    uint8_t is_done

cdef struct Counters:
    uint64_t instructions
    uint64_t blocks_decoded
    uint64_t blocks_invalidated
    uint64_t block_flushes
    uint64_t accesses           # to data, through the TLB
    uint64_t tlb_misses         # those that needed a walk
    uint64_t tlb_flushes
    uint64_t page_faults
    uint64_t mmio
    uint64_t io
    uint64_t code_writes
    uint64_t unknown_msrs
    uint64_t exceptions[32]
    uint64_t interrupts[256]
