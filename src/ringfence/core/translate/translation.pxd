# Translated blocks and the places where they leave or call out; one Translator for each vCPU.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.host.code_buffer cimport CodeBuffer
from ringfence.core.x86.state cimport Cpu, Instr, Slot

cdef enum:
    CANONICAL = 0x0C            # the map in which every canonical entry is: r10 and r11 in memory
    REGIONS = 16
    REGION_CODE_BYTES = 4 << 20
    REGION_DATA_BYTES = 8 << 20
    ROUTINE_BYTES = 1 << 18     # before the first region: enter, leave, call-outs
    TRANSLATION_BYTES = 32768   # no translation is longer
    TRANSLATION_DATA_BYTES = 65536  # nor its sites, exits, relocations and itself
    TRANSLATION_BUCKETS = 131072
    PAGE_LISTS = 8192
    MODELS = 16384
    CALLOUT_BYTES = 17          # of a call-out: what a patch has in its place
    PATCH_BYTES = 1024          # no patch is longer
    PATCH_DATA_BYTES = 4096     # nor its records
    CALLOUT_SAMPLES = 64        # one call-out in so many is timed
    UNMERGED_MISSES = 64        # of a window that reads first, before its block does without
    OPERAND_ADDRESS = 255
    IMMEDIATE_ADDRESS = 254     # the instruction's immediate

# What cpu.vector_ready says, and what a translation needs.
cdef enum:
    LEVEL_SSE = 1               # x87, MMX and SSE
    LEVEL_AVX = 2
    LEVEL_AVX512 = 3

cdef struct Translation
cdef struct Exit
cdef struct Patch

#  Where translated code calls out: an access that the inline probe could not do, or an
#  instruction for the interpreter.
cdef enum SiteKind:
    SITE_MEMORY = 0             # fill the TLB and try again, else interpret
    SITE_INTERPRET = 1          # interpret, then go on after it
    SITE_LEAVE = 2              # interpret, then leave the block
    SITE_VECTOR = 3             # load the guest's vector state
    SITE_INDIRECT = 4           # a near branch whose target is not in the jump cache
    SITE_EXIT = 5               # an Exit (the first word of both says)
    SITE_SLOT = 6               # a slot has missed often, or the list of slots is full
    SLOT_RECORD = 7             # no call-out, but a record among the others

cdef struct Site
cdef struct SlotRecord:
    uint32_t kind               # SLOT_RECORD
    uint32_t direct             # code offset where the probe goes on without its slot
    Translation* owner
    Site* site                  # of the probe
    uint64_t judged             # instructions done when the slot was last asked about
    int32_t given               # misses that it was given then
    Slot slot                   # the entry that the probe found last

cdef struct Site:
    uint32_t kind
    uint32_t index              # instructions before it in the translation
    Translation* owner
    Instr instr
    uint32_t retry              # code offsets
    uint32_t resume
    uint8_t is_write            # SITE_MEMORY: the access, of the operand or of base + disp
    uint8_t size
    uint8_t base                # OPERAND_ADDRESS: where the instruction's memory operand is
    uint8_t reads_first         # a window for writing, but the access itself reads
    uint8_t may_resume          # after it is interpreted, for no TLB entry is held in a register
    uint8_t is_counted          # in a counted loop: its owner's counter says what is paid too much
    uint8_t ends                # the instruction is a branch: once interpreted, the block is left
    int32_t disp                # SITE_INDIRECT: what the branch has added to RSP
    uint32_t misses
    SlotRecord* slot            # of hot code, and SITE_SLOT
    int32_t low                 # a window: [address + low, address + low + span) must be in one page
    int32_t span
    uint32_t place              # code offset of a call-out that is the instruction's only code, else 0
    uint32_t calls              # ... and how often it was made

#  A direct branch out of a translation.
cdef struct Exit:
    uint32_t kind               # SITE_EXIT
    uint32_t charge             # instructions done when it is taken
    Translation* owner
    Translation* target         # when linked
    Exit* next                  # exits linked to the same target
    Exit* previous
    Exit* sibling               # exits of the same owner
    uint64_t rip                # where it goes
    uint32_t field              # code offset of the rel32 that linking changes
    uint32_t stub               # where it points when not linked
    uint32_t convert            # code offset of the way to the canonical map, 0 when it is the owner's
    uint32_t convert_field      # ... and of the rel32 at its end
    uint32_t is_local           # to the same guest page: may be linked
    uint32_t loop               # code offset of the owner's counted loop, if that is where it goes

#  A field of the code that depends on RIP or on where the code lies: relocation.pxd.
cdef struct Reloc:
    uint16_t at                 # offset from the translation's entry
    uint8_t kind
    uint8_t width
    int32_t distance            # from the translation's RIP

#  Code that a call-out was replaced with, too long for its place. Its records follow it.
cdef struct Patch:
    Patch* next                 # others of the same translation
    uint8_t* records_end
    uint32_t start              # code offsets
    uint32_t end

cdef struct Translation:
    uint64_t gpa
    uint64_t gpa2               # of the page that its only instruction ends on, else 0
    uint64_t rip
    uint32_t context            # what the code depends on besides: jump_key's low bits
    uint32_t entry              # code offset, guest registers in the canonical map
    uint32_t body               # code offset of the same in its own map
    uint32_t end                # of its code
    uint16_t bytes              # of guest code
    uint16_t count              # instructions
    uint8_t map                 # bit n: guest register 8 + n lives in memory
    uint8_t is_valid
    uint8_t uses_vector         # LEVEL_*, 0 for none
    uint8_t is_linkable
    uint8_t is_twin
    uint8_t is_hot              # its probes have slots
    uint8_t heat                # samples that fell on it
    uint8_t turns               # ... and on its branch to its own start
    uint8_t counter             # register of the counted loop: turns that are paid for, less one
    uint32_t turn               # instructions of a turn
    uint16_t low                # page offsets of all guest code that it depends on
    uint16_t high
    uint32_t region
    Translation* hash_next
    Translation* page_next
    Translation* page2_next
    Translation* region_next
    Exit* incoming
    Exit* exits
    Translation* twin           # the same without windows; of a twin, what it is the twin of
    Translation* page_previous
    uint32_t* offsets           # where the code of each instruction is
    uint16_t* fields            # where the code names the context or these records
    Reloc* relocs
    uint16_t field_count
    uint16_t reloc_count
    uint32_t records_bytes      # from the translation on: itself, offsets, sites, exits, slots
    uint32_t data_bytes         # ... and fields and relocs
    uint8_t is_movable          # may be copied for another RIP or another vCPU
    Patch* patches

ctypedef Translation* TranslationP
ctypedef Site* SiteP
ctypedef Exit* ExitP
ctypedef Reloc* RelocP

cdef struct Region:
    uint32_t code_at            # code offset of its start
    uint32_t code_used          # bytes of it
    uint32_t data_used
    uint32_t pad
    uint8_t* data               # below 2 GiB
    Translation* first

#  How each row of the instruction tables was translated, and how often call-outs ran it.
cdef struct RowCount:
    uint64_t translated[4]      # instructions, by CLASS_*
    uint64_t called[3]          # call-outs to its handler, by the SiteKind of the place
    uint64_t sampled            # of which one in CALLOUT_SAMPLES is timed
    uint64_t sampled_ns
    uint64_t patched            # call-outs that were replaced with host code

cdef enum:                      # classes of translated instructions
    CLASS_COPY = 0              # the same instruction, its operands put in place
    CLASS_REWRITE = 1           # other host instructions that do the same
    CLASS_EMULATE = 2           # a call-out to its handler, then on
    CLASS_EXIT = 3              # a call-out to its handler, then the run loop

cdef struct TranslatorCounters:
    uint64_t translations
    uint64_t instructions       # translated
    uint64_t guest_bytes
    uint64_t host_bytes
    uint64_t hot                # translated again with slots
    uint64_t replicas           # copied instead, for another RIP
    uint64_t stored             # ... from the cache on disk
    uint64_t invalidated
    uint64_t evicted_regions
    uint64_t links
    uint64_t unlinks
    uint64_t entries            # into translated code, from the run loop
    uint64_t interpreted_blocks
    uint64_t callouts[8]        # by SiteKind
    uint64_t sampled[8]         # of which these were timed
    uint64_t sampled_ns[8]
    uint64_t patches            # call-outs replaced with host code
    uint64_t patches_in_place   # ... that fits where they were
    int64_t in_place            # guest instructions that translated code did without a call-out
    uint64_t refills            # probes that missed and then hit

cdef struct Translator:
    CodeBuffer code
    uint32_t routine_used
    uint32_t enter              # code offsets of the routines
    uint32_t leave_saved        # after put_registers_away()
    uint32_t leave_called       # from a call-out
    uint32_t reset_vector
    uint32_t save_vector
    uint64_t (*function)(Cpu*) noexcept nogil   # the call-out
    uint32_t leave[256]         # by map
    uint32_t callout[256]
    uint32_t restore[256]
    uint32_t restore_plain[256] # ... where only the XMM registers were saved
    uint32_t current            # region
    uint32_t has_bmi2
    uint32_t exact_flags        # every fault and exit sees all the flags
    int32_t budget              # Cpu.budget when it is full: four times what a counter has
    uint32_t refills            # of the budget, modulo 4
    Exit* pending               # left by this exit: link it when its target is known
    uint32_t is_inside          # guest flags are in cpu.saved_flags, not in the interpreter's form
    uint32_t patch_after        # call-outs of a sensitive instruction until it gets host code; 0 at once
    uint32_t callouts           # counted, to time some
    uint32_t is_half_saved      # of the guest's vector state the XMM registers alone are saved
    uint32_t is_completed       # the instruction of a call-out is done
    uint32_t interpret_next     # the next block is the interpreter's
    int32_t charge              # of the budget, if the running call-out faults
    Translation* wants_twin
    uint8_t slotless[4096]      # by gpa of the instruction: its slot missed too often
    uint8_t unmerged[4096]      # by gpa of a block: what it reads is often not writable, so probe writes apart
    Instr pair[2]               # the instruction of a call-out, and what follows it
    Region regions[16]
    Translation* buckets[131072]
    Translation* models[16384]  # by gpa and context: one to copy for another RIP
    Translation* pages[8192]
    Translation* second_pages[8192]
    uint8_t* store              # translations from an earlier run: stored.py
    uint64_t store_bytes
    uint32_t* store_table       # hash table of their places in units of 16 bytes, counted from 1
    uint64_t store_mask
    TranslatorCounters count
    RowCount rows[4096]

ctypedef Translator* TranslatorP

cdef inline uint32_t record_bytes(uint32_t kind) noexcept nogil:
    """Of a site, an exit or a slot, as it lies among the others."""
    if kind == SITE_EXIT:
        return (sizeof(Exit) + 15) & ~15
    if kind == SLOT_RECORD:
        return (sizeof(SlotRecord) + 15) & ~15
    return (sizeof(Site) + 15) & ~15

cdef inline uint64_t first_record(Translation* translation) noexcept nogil:
    return <uint64_t>translation.offsets + ((translation.count * sizeof(uint32_t) + 15) & ~15)

cdef inline uint64_t end_of_records(Translation* translation) noexcept nogil:
    return <uint64_t>translation + translation.records_bytes

cdef inline Translator* translator_of(Cpu* cpu) noexcept nogil:
    return <Translator*>cpu.translator

cdef inline uint8_t* is_slotless(Translator* t, uint64_t gpa) noexcept nogil:
    return &t.slotless[(gpa ^ gpa >> 12) & 4095]

cdef inline uint8_t* is_unmerged(Translator* t, uint64_t gpa) noexcept nogil:
    return &t.unmerged[(gpa ^ gpa >> 12) & 4095]
