# The Exit record: why guest execution stopped and what the VMM is asked to decide.
# The shape of KVM's run structure; see core/exits.py for the Python view.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum ExitReason:
    EXIT_NONE = 0
    EXIT_IO = 1            # port access: address, size, is_write, data
    EXIT_MMIO = 2          # physical address that is not RAM: the same fields
    EXIT_HLT = 3           # HLT executed; rip is past it
    EXIT_INTERRUPTED = 4   # a kick or the deadline
    EXIT_IRQ_WINDOW = 5    # asked for by request_window: an interrupt can be injected now
    EXIT_EOI = 6           # end of interrupt of a level-triggered vector, in data
    EXIT_IPI = 7           # the local APIC's ICR addresses other processors
    EXIT_SHUTDOWN = 8      # triple fault
    EXIT_DEBUG = 9         # a debugger's stop
    EXIT_FAIL = 10         # the engine can't go on; data says where
    EXIT_HYPERCALL = 11    # VMCALL/VMMCALL that the core does not answer itself
    EXIT_FERR = 12         # FERR#: an x87 error waits for the interrupt of a coprocessor (CR0.NE = 0)

cdef struct Exit:
    uint32_t reason
    uint8_t size
    uint8_t is_write
    uint16_t reserved
    uint64_t address
    uint64_t data
