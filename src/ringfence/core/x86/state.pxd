# The state of one x86 virtual CPU: Intel SDM vol. 3 chapter 2, AMD APM vol. 2 chapter 3.
#
# `Arch` is the architectural state: plain data, versioned, saved in one piece. `Cpu` holds it
# and what an engine derives from it (TLB, decoded blocks), which a restore rebuilds.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.exits cimport Exit
from ringfence.core.memory.map cimport MemoryMap
from ringfence.core.x86.lapic cimport Lapic
from ringfence.core.x86.state_parts cimport (
    FILL_LIMIT, REPLAY_LIMIT, SLOT_LIMIT, TLB_GLOBAL, TLB_LARGE, Counters, Fxsave, Msrs, Replay, Segment, Slot, Table,
    TlbEntry, VectorHigh, XsaveHeader)

cdef extern from "<setjmp.h>" nogil:
    ctypedef struct jmp_buf:
        pass

cdef enum:
    STATE_VERSION = 2
    TLB_BITS = 10
    TLB_ENTRIES = 1024
    PAGE_BYTES = 4096
    LONGEST_INSTRUCTION = 15    # bytes
    BLOCK_LIMIT = 32            # instructions in a decoded block
    JUMP_CACHE_ENTRIES = 4096
    HOST_JUMP_BITS = 14
    HOST_JUMPS = 16384          # entries of the translator's jump cache

cdef enum:                      # general registers, by their number (a named enum can't index an array)
    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    R8 = 8
    R11 = 11
    ZERO = 16                   # always 0: "no base", "no index"
    BLOCK_RIP = 17              # rip of the first instruction of the running block

cdef enum:                      # segment registers
    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5
    LDTR = 6
    TR = 7

#  attr: bits 8..23 of a descriptor's high word, shifted down by 8, plus ATTR_NULL
#
#   16   15  14  13  12   11..8   7   6 5   4   3 2 1 0
#  null   G  D/B  L  AVL    -     P   DPL   S    type
cdef enum:
    ATTR_ACCESSED = 1 << 0
    ATTR_WRITABLE = 1 << 1      # data: writable; code: readable
    ATTR_EXPAND_DOWN = 1 << 2   # data: expand down; code: conforming
    ATTR_CODE = 1 << 3
    ATTR_S = 1 << 4
    ATTR_DPL_SHIFT = 5
    ATTR_P = 1 << 7
    ATTR_L = 1 << 13
    ATTR_DB = 1 << 14
    ATTR_G = 1 << 15
    ATTR_NULL = 1 << 16         # loaded with a null selector: any use faults

cdef enum Flag:
    CF = 1 << 0
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF_FLAG = 1 << 9           # IF is a word of Cython
    DF = 1 << 10
    OF = 1 << 11
    IOPL = 3 << 12
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    VIF = 1 << 19
    VIP = 1 << 20
    ID = 1 << 21
    ARITHMETIC = 0x8D5          # CF PF AF ZF SF OF

cdef enum ControlBit:
    CR0_PE = 1 << 0
    CR0_MP = 1 << 1
    CR0_EM = 1 << 2
    CR0_TS = 1 << 3
    CR0_ET = 1 << 4
    CR0_NE = 1 << 5
    CR0_WP = 1 << 16
    CR0_AM = 1 << 18
    CR0_NW = 1 << 29
    CR0_CD = 1 << 30
    CR0_PG = 0x80000000u
    CR4_VME = 1 << 0
    CR4_PVI = 1 << 1
    CR4_TSD = 1 << 2
    CR4_DE = 1 << 3
    CR4_PSE = 1 << 4
    CR4_PAE = 1 << 5
    CR4_MCE = 1 << 6
    CR4_PGE = 1 << 7
    CR4_PCE = 1 << 8
    CR4_OSFXSR = 1 << 9
    CR4_OSXMMEXCPT = 1 << 10
    CR4_UMIP = 1 << 11
    CR4_LA57 = 1 << 12
    CR4_FSGSBASE = 1 << 16
    CR4_PCIDE = 1 << 17
    CR4_OSXSAVE = 1 << 18
    CR4_SMEP = 1 << 20
    CR4_SMAP = 1 << 21
    EFER_SCE = 1 << 0
    EFER_LME = 1 << 8
    EFER_LMA = 1 << 10
    EFER_NXE = 1 << 11

cdef enum:                      # vectors of exceptions
    DE = 0
    DB = 1
    NMI = 2
    BP = 3
    OF_VECTOR = 4
    BR = 5
    UD = 6
    NM = 7
    DF_VECTOR = 8
    TS = 10
    NP = 11
    SS_VECTOR = 12
    GP = 13
    PF_VECTOR = 14
    MF = 16
    AC_VECTOR = 17
    XM = 19

cdef enum Activity:
    ACTIVE = 0
    HALTED = 1
    SHUTDOWN = 2
    WAIT_SIPI = 3

cdef struct Arch:
    uint32_t version
    uint32_t activity           # Activity
    uint64_t regs[18]           # RAX..R15, ZERO, BLOCK_RIP
    uint64_t rip
    # Lazy arithmetic flags: flags.pxd draws them. `rflags` holds all the other bits.
    int64_t flag_result
    uint64_t flag_carry
    uint64_t rflags
    uint64_t cr0
    uint64_t cr2
    uint64_t cr3
    uint64_t cr4
    uint64_t xcr0
    uint64_t dr[8]
    uint64_t pdpte[4]           # PAE: loaded by a write to CR3
    Segment seg[8]
    Table gdtr
    Table idtr
    Msrs msr
    uint8_t cpl
    uint8_t inhibit_irq         # interrupt shadow: one instruction after STI, MOV SS
    uint8_t inhibit_db          # MOV SS also holds back #DB
    uint8_t nmi_blocked
    uint8_t nmi_pending
    uint8_t pending_db          # trap-class #DB bits (DR6 form) to deliver before the next instruction
    uint16_t pad0
    uint64_t pending_dr6
    int64_t tsc_offset          # guest TSC = guest ns + offset (1 GHz)
    uint64_t clock_offset_ns    # host CLOCK_MONOTONIC - guest time
    uint64_t pad1[5]
    # An XSAVE area in the compacted form, which the host's XRSTOR takes as it stands: 64-byte aligned,
    # nothing between the three. xsave_state.py checks that at start-up.
    Fxsave fx
    XsaveHeader xsave           # constant: the components that the model has
    VectorHigh high
    Lapic lapic

cdef enum TlbView:
    VIEW_SUPERVISOR = 0         # also every implicit supervisor access (GDT, IDT, TSS)
    VIEW_USER = 1
    VIEW_SUPERVISOR_AC = 2      # EFLAGS.AC = 1: SMAP suspended
    VIEW_CHECKED = 3            # never filled: alignment checks or data breakpoints on every access

cdef enum Access:
    ACCESS_READ = 0
    ACCESS_WRITE = 1
    ACCESS_FETCH = 2

cdef struct Instr               # one decoded instruction, below
cdef struct Cpu
ctypedef void (*Handler)(Cpu*, Instr*) noexcept nogil

#  A decoded instruction, 40 bytes. `fn` does the work and calls the next one (see NEXT).
cdef struct Instr:
    Handler fn
    int64_t imm                 # immediate; branch displacement; absolute offset; far pointer (sel<<32|off)
    int32_t disp
    uint8_t base                # register index, ZERO or BLOCK_RIP
    uint8_t index               # register index or ZERO
    uint8_t scale               # shift, 0..3
    uint8_t seg                 # SegmentName used by the memory operand
    uint8_t ea_form             # EA_FLAT64, EA_FLAT32 (truncate), EA_GENERAL
    uint8_t reg                 # modrm.reg with REX.R (byte operands: offset into regs[] in bytes)
    uint8_t rm                  # modrm.rm with REX.B when it names a register (byte operands: byte offset)
    uint8_t vvvv                # VEX.vvvv, or the low opcode bits' register
    uint8_t offset              # from the block's first byte
    uint8_t length
    uint8_t width               # operand size as log2 bytes: 0 1 2 3
    uint8_t attr                # INSTR_*
    uint8_t asize               # address size in bytes: 2 4 8
    uint8_t modrm               # the raw ModRM byte
    uint16_t entry              # row of the decoder table
    uint32_t imm2               # second immediate (ENTER, EXTRQ)

cdef enum:
    INSTR_BYTES = 40            # sizeof(Instr): the unit of Cpu.budget

cdef enum:
    EA_FLAT64 = 0               # base + index + disp, no segment base, 64-bit
    EA_FLAT32 = 1               # the same, truncated to 32 bits
    EA_BASE64 = 3               # the same with the base of FS or GS
    EA_GENERAL = 2              # ea_general(): segment base, limit, type checks, 16/32/64-bit wrap

cdef enum:
    INSTR_LOCK = 1
    INSTR_REP = 2               # F3
    INSTR_REPNE = 4             # F2
    INSTR_MEMORY = 8            # modrm names memory
    INSTR_OPSIZE = 16           # a 66 prefix was there
    INSTR_REX_W = 32

cdef struct Block:
    uint64_t gpa                # of the first byte
    uint64_t key                # gpa | mode bits above
    uint64_t fetch_key          # (generation << 8 | mode) for which `gpa2` was last checked
    uint64_t gpa2               # second page's guest-physical address when it crosses, else 0
    Instr* first
    Block* hash_next
    Block* page_next            # other blocks on the page of gpa
    Block* page2_next           # other blocks on the page of gpa2
    uint16_t count
    uint16_t bytes
    uint32_t is_valid

cdef struct JumpEntry:
    uint64_t rip
    uint64_t fetch_key
    Instr* first
    uint64_t pad

#  The translator's jump cache. `tag` is jump_tag_of() a RIP: all but its upper 16 bits, and Cpu.jump_key,
#  so that a change of mode or of mappings makes every entry miss at once, whatever address a guest makes up.
cdef struct HostJump:
    uint64_t tag
    uint64_t host               # address of translated code

# What a translator wants to know of guest code: [gpa, gpa+size) is written. True: translations are left on the page.
ctypedef bint (*CodeHook)(Cpu*, uint64_t gpa, uint64_t size) noexcept nogil

cdef struct Cpu:
    Arch a
    # -- derived: rebuilt from `a` by refresh_mode() and flush --
    TlbEntry* tlb_read          # of the current view
    TlbEntry* tlb_write
    Instr* current              # the running instruction
    Instr* first                # of the running block; NULL between blocks
    uint64_t fetch_key          # generation << 8 | mode
    uint32_t mode               # MODE_* bits: what decoding depends on, and CPL 3
    int32_t view                # TlbView in use
    int32_t budget              # INSTR_BYTES a guest instruction, until the run loop looks at the clock
    int32_t budget_size         # ... when it is full
    int32_t attention           # not 0: leave the chain at the next block boundary
    int32_t kicked              # set by another thread
    uint64_t generations[2]     # of the supervisor's code and the user's: see new_generation()
    uint64_t deadline_ns        # guest time at which run() must return; 0 = none
    int32_t window_requested
    int32_t inject_vector       # -1 none
    int32_t single              # run one instruction at a time (TF, breakpoints, shadow)
    int32_t has_breakpoints     # DR7 enables some
    int32_t is_local_code_seen  # the supervisor has run code in a page that is not global
    # fault being raised
    uint32_t fault_vector
    uint32_t fault_error
    uint32_t fault_has_error
    uint32_t is_delivering      # inside event delivery: a fault now may become #DF
    uint32_t delivering_vector
    uint32_t delivering_class
    uint64_t instructions_base
    Exit exit
    Replay replay[64]
    uint32_t replay_count
    uint32_t replay_next
    uint64_t features[8]        # CPUID feature words the model offers: cpuid.py
    MemoryMap* memory
    void* blocks                # BlockCache*
    void* thunks                # host-code thunks of sse.py, x87.py
    # -- the translator's: translated code reaches these by their absolute addresses --
    void* translator            # Translator*, or NULL
    CodeHook translated_written
    int64_t heat_limit          # runs of a block after which the interpreter gives it to the translator
    uint64_t host_rsp           # the host's stack while translated code runs
    uint64_t jump_target        # where `enter` and `restore` go on
    uint64_t restore            # the routine that goes there
    uint64_t site               # Site* or Exit* that translated code was left by
    uint64_t spare[2]           # operands of one translated instruction
    # what a flush of the TLB has to go through: see tlb.py
    uint64_t large_regions[16]  # a bit for each GiB (modulo 1024) with a piece of a large page in the TLB
    uint64_t code_pages[64]     # a bit for each page (modulo 4096) that code was fetched from in this generation
    uint32_t fill_count[2]      # of entries that are not global, and of global ones
    uint32_t pad4[2]
    uint16_t fills[2][2048]     # their numbers, counted through all arrays
    uint32_t slot_count
    uint32_t slots[4096]        # addresses of Slots
    uint64_t held[8]            # host R8 to R15 that are not the guest's, over a call-out
    uint64_t jump_key           # 16 bits: the mode and mappings for which host_jumps holds
    int32_t budgets[4]          # what translated code takes its instructions off: see put_charge()
    uint32_t saved_flags        # SF ZF AF PF CF in byte 1, OF in byte 0
    uint32_t vector_ready       # not 0: the host's vector registers hold the guest's, and it may use so much of them
    int32_t model               # row of the CPU model table
    int32_t index
    int32_t debug_steps         # run() returns DEBUG after this many instructions; 0 = off
    int32_t pad2
    Counters count
    uint64_t last_rips[16]      # ring of recent block addresses, for the triple-fault report
    uint32_t last_rip_at
    uint32_t pad3
    jmp_buf escape              # where raise_fault() and leave() go
    uint8_t scratch[1024]       # operand buffers of SSE and x87 handlers (16-byte aligned use)
    uint8_t bounce[16]          # operand of a read-modify-write that is not plain RAM
    int64_t saved_result        # the flags before it, for the case that its write must leave
    uint64_t saved_carry
    int32_t stepping            # run one instruction, then return to the run loop
    int32_t step_is_quiet       # no single-step trap for the running instruction: it delivered an event
    int32_t is_repeating        # a REP instruction stopped between two turns: RIP is still on it
    int32_t shadow_seen         # the instruction being stepped is in an interrupt shadow
    uint8_t nowhere[4160]       # a page, from the first multiple of 64 on: see empty_slot()
    TlbEntry tlb[4][2][1024]    # [view][read, write][index]
    TlbEntry tlb_fetch[2][256]  # [supervisor, user][index]
    JumpEntry jumps[4096]
    HostJump host_jumps[16384]

# What decoding depends on; the low byte of fetch_key.
cdef enum:
    MODE_CODE16 = 0
    MODE_CODE32 = 1
    MODE_CODE64 = 2
    MODE_CODE_MASK = 3
    MODE_STACK32 = 4            # SS.B
    MODE_FLAT = 8               # ES SS DS flat and usable (64-bit: always)
    MODE_USER = 16              # CPL 3
    MODE_PROTECTED = 32         # protected mode and not virtual-8086
    MODE_V86 = 64

# The part of the jump key that says which mode code was translated for: 6 bits.
cdef inline uint32_t mode_bits(Cpu* cpu) noexcept nogil:
    return (cpu.mode & (MODE_CODE_MASK | MODE_STACK32 | MODE_FLAT)) | <uint32_t>cpu.view << 4

cdef inline uint32_t host_jump_of(uint64_t rip) noexcept nogil:
    return (rip ^ (rip >> 14)) & (HOST_JUMPS - 1)

cdef inline uint64_t generation_of(Cpu* cpu) noexcept nogil:
    return cpu.generations[(cpu.mode & MODE_USER) != 0]

cdef inline void set_jump_key(Cpu* cpu) noexcept nogil:
    cpu.jump_key = (generation_of(cpu) & 0x3FF) << 6 | mode_bits(cpu)
    cpu.fetch_key = (generation_of(cpu) << 8) | (cpu.mode & 0xFF)

ctypedef Cpu* CpuP
ctypedef Instr* InstrP
ctypedef Block* BlockP
