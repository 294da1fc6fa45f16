# The decoder: SDM vol. 2, chapter 2 and appendix A.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from ringfence.core.x86.decode_table cimport EntryInfo
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum DecodeResult:
    DECODED = 0
    DECODED_END = 1             # and it ends the block
    DECODE_TRUNCATED = 2        # more bytes are needed than were given
    DECODE_TOO_LONG = 3         # over 15 bytes: #GP

cdef EntryInfo* entry_info(int entry) noexcept nogil
cdef int decode(Cpu* cpu, uint32_t mode, const uint8_t* code, int available, Instr* i) noexcept nogil
