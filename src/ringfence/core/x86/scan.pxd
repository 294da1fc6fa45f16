# The bytes of an instruction and what has been read of them.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ringfence.core.x86.decode_table cimport EntryInfo
from ringfence.core.x86.state cimport Instr

cdef struct Scan:
    const uint8_t* code
    int available
    int at                      # bytes consumed
    int is_truncated
    int is_64
    int opsize
    int adsize
    int lock
    int rep                     # F2, F3 or 0: the last one counts
    int seg                     # override, or -1
    int rex
    int vex                     # 0 none, 1 VEX, 2 EVEX
    int length                  # L or L'L
    int vvvv
    int reg_high                # EVEX.R': bit 4 of ModRM.reg
    int evex_b                  # broadcast, rounding
    int zeroing
    int opmask                  # EVEX.aaa
    int vsib                    # the index is a vector register: it goes to Instr.rm
    int map
    int opcode
    int modrm
    int width_z                 # log2 of the size of Iz

ctypedef Scan* ScanP

# Legacy and REX prefixes; the first byte that is neither.
cdef int scan_prefixes(Scan* s, bint is_64) noexcept nogil
# Map and opcode, VEX and EVEX included. False: undefined.
cdef bint scan_opcode(Scan* s, int byte, uint32_t mode) noexcept nogil
cdef void scan_memory(Scan* s, Instr* i) noexcept nogil
cdef void scan_immediate(Scan* s, EntryInfo* e, Instr* i) noexcept nogil
