"""Runs machine code on the bare host CPU: the process behind host_judge.py.

A trampoline loads the registers, jumps to the instruction under test and stores them again. All its
memory is at fixed addresses below 2 GiB, so that it needs no register of its own. An exception comes
back as a signal; the handler, also machine code, notes the vector and has the kernel resume after
the instruction, with the state as it was at the fault. SDM vol. 2 for the encodings; the layout of
the signal frame is the x86-64 psABI's.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys

from case import CODE, DATA, DATA_BYTES, HIGH_BYTES, INSTRUCTION, Case, Outcome

PAGE = 4096
#: registers, FXSAVE images and XSAVE areas on their way in and out
EXCHANGE = 0x2002_0000
EXCHANGE_BYTES = 3 * PAGE
IN_XSAVE, OUT_XSAVE = EXCHANGE + PAGE, EXCHANGE + 2 * PAGE
XSAVE_HEADER, XSAVE_HIGH, COMPACTED = 512, 576, 1 << 63
#: bits of XCR0 by what /proc/cpuinfo says
COMPONENTS = {"avx": 0x4, "avx512f": 0xE0}
HOST_RSP, IN_FLAGS, OUT_FLAGS, HOST_MXCSR = (EXCHANGE + at for at in (0x88, 0x80, 0x90, 0x98))
IN_REGS, OUT_REGS, FAULT, IN_FX, OUT_FX = (EXCHANGE + at for at in (0, 0x100, 0x180, 0x200, 0x400))
NO_FAULT = (1 << 64) - 1
BREAKPOINT, PAGE_FAULT = 3, 14
INT3 = b"\xcc"
#: the part of the code page that branches may lead to
BRANCH_LOW, BRANCH_HIGH = 0x400, PAGE

MAP_FIXED_NOREPLACE = 0x10_0000
SA_SIGINFO, SA_ONSTACK = 4, 0x0800_0000
SIGNAL_STACK_BYTES = 1 << 16
#: offsets in ucontext_t: saved RIP, error code, vector, CR2
UC_RIP, UC_ERROR, UC_VECTOR, UC_CR2 = 168, 192, 200, 216

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)


class SignalAction(ctypes.Structure):
    """struct sigaction of glibc."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint8 * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class SignalStack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def absolute(opcode: bytes, reg: int, address: int, wide: bool = True) -> bytes:
    """An instruction whose operands are a register (or /digit) and an absolute address."""
    rex = (8 if wide else 0) | (4 if reg > 7 else 0)
    prefix = bytes([0x40 | rex]) if rex else b""
    return prefix + opcode + bytes([(reg & 7) << 3 | 4, 0x25]) + struct.pack("<I", address)


def jump(source: int, target: int) -> bytes:
    return b"\xe9" + struct.pack("<i", target - source - 5)


def vector_components() -> int:
    """The components above the legacy ones that the host has."""
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    return sum(bits for name, bits in COMPONENTS.items() if name in flags)


def with_components(components: int, instruction: bytes) -> bytes:
    """XRSTOR or XSAVEC of these components; EAX and EDX are lost."""
    return b"\xb8" + struct.pack("<I", components) + b"\x31\xd2" + instruction if components else b""


def assemble(components: int) -> tuple[bytes, int, int]:
    """The code page up to the instruction: trampoline, then `after`, then `handler`; and their addresses."""
    saved = b"\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"  # push rbx rbp r12 r13 r14 r15
    restored = b"\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b"
    code = saved + absolute(b"\x89", 4, HOST_RSP) + absolute(b"\x0f\xae", 3, HOST_MXCSR, wide=False)
    code += with_components(components, absolute(b"\x0f\xae", 5, IN_XSAVE))  # xrstor64
    code += absolute(b"\x0f\xae", 1, IN_FX)  # fxrstor64
    code += absolute(b"\xff", 6, IN_FLAGS, wide=False) + b"\x9d"  # push, popfq
    for reg in range(16):
        code += absolute(b"\x8b", reg, IN_REGS + 8 * reg)
    code += jump(CODE + len(code), INSTRUCTION)

    after = CODE + len(code)
    for reg in range(16):
        code += absolute(b"\x89", reg, OUT_REGS + 8 * reg)
    code += absolute(b"\x8b", 4, HOST_RSP)
    code += b"\x9c" + absolute(b"\x8f", 0, OUT_FLAGS, wide=False) + b"\xfc"  # pushfq, pop, cld
    code += absolute(b"\x0f\xae", 0, OUT_FX)  # fxsave64
    code += with_components(components, absolute(b"\x0f\xc7", 4, OUT_XSAVE))  # xsavec64
    if components:
        code += b"\xc5\xf8\x77"  # vzeroupper
    code += b"\xdb\xe3" + absolute(b"\x0f\xae", 2, HOST_MXCSR, wide=False)  # fninit, ldmxcsr
    code += restored + b"\xc3"

    handler = CODE + len(code)  # (signal, siginfo, ucontext in RDX)
    for slot, offset in enumerate((UC_VECTOR, UC_ERROR, UC_CR2, UC_RIP)):
        code += b"\x48\x8b\x82" + struct.pack("<I", offset)  # mov rax, [rdx + offset]
        code += absolute(b"\x89", 0, FAULT + 8 * slot)
    code += b"\x48\xc7\x82" + struct.pack("<II", UC_RIP, after) + b"\xc3"  # mov qword [rdx + UC_RIP], after
    return code, after, handler


def map_at(address: int, length: int, protection: int, flags: int, fd: int = -1) -> None:
    # SAFETY: MAP_FIXED_NOREPLACE fails where something is mapped already
    if libc.mmap(address, length, protection, flags | MAP_FIXED_NOREPLACE, fd, 0) != address:
        raise OSError(ctypes.get_errno(), f"can't map {length:#x} bytes at {address:#x}")


def window_on(address: int, length: int) -> memoryview:
    return memoryview((ctypes.c_uint8 * length).from_address(address)).cast("B")


class Processor:
    """The host CPU as a function from case to outcome."""

    def __init__(self) -> None:
        self.components = vector_components()
        trampoline, self.after, handler = assemble(self.components)
        fd = os.memfd_create("code")
        os.ftruncate(fd, PAGE)
        self.code = mmap.mmap(fd, PAGE)
        map_at(CODE, PAGE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_SHARED, fd)
        self.code[: len(trampoline)] = trampoline
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        for address, length in ((DATA, DATA_BYTES), (EXCHANGE, EXCHANGE_BYTES)):
            map_at(address, length, writable, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.data = window_on(DATA, DATA_BYTES)
        self.exchange = window_on(EXCHANGE, EXCHANGE_BYTES)
        self.enter = ctypes.CFUNCTYPE(None)(CODE)
        self.catch_signals(handler)

    def catch_signals(self, handler: int) -> None:
        self.stack = ctypes.create_string_buffer(SIGNAL_STACK_BYTES)
        stack = SignalStack(ctypes.addressof(self.stack), 0, SIGNAL_STACK_BYTES)
        libc.sigaltstack(ctypes.byref(stack), None)
        action = SignalAction(handler=handler, flags=SA_SIGINFO | SA_ONSTACK)
        for number in (signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP):
            libc.sigaction(int(number), ctypes.byref(action), None)

    def run(self, case: Case) -> Outcome:
        at = INSTRUCTION - CODE
        code = case.code + jump(INSTRUCTION + len(case.code), self.after)
        self.code[BRANCH_LOW:BRANCH_HIGH] = INT3 * (BRANCH_HIGH - BRANCH_LOW)
        self.code[at : at + len(code)] = code
        self.data[:] = bytes(DATA_BYTES)
        self.data[case.window_at : case.window_at + len(case.window)] = case.window
        exchange = self.exchange
        struct.pack_into("<17Q", exchange, 0, *case.regs, case.rflags | 2)
        exchange[IN_FX - EXCHANGE : IN_FX - EXCHANGE + 512] = case.fx
        struct.pack_into("<Q", exchange, FAULT - EXCHANGE, NO_FAULT)
        self.set_high(case.high)
        self.enter()
        regs = list(struct.unpack_from("<16Q", exchange, OUT_REGS - EXCHANGE))
        vector, error, cr2, rip = struct.unpack_from("<q3Q", exchange, FAULT - EXCHANGE)
        rflags = struct.unpack_from("<Q", exchange, OUT_FLAGS - EXCHANGE)[0]
        if vector == BREAKPOINT and rip != INSTRUCTION + 1:
            # a branch, stopped where it led to
            vector, error, rip = -1, 0, rip - 1
        elif vector < 0:
            error, rip = 0, INSTRUCTION + len(case.code)
        cr2 = cr2 if vector == PAGE_FAULT else 0
        fx = bytes(exchange[OUT_FX - EXCHANGE : OUT_FX - EXCHANGE + 512])
        at = OUT_XSAVE - EXCHANGE + XSAVE_HIGH
        high = bytes(exchange[at : at + HIGH_BYTES])
        return Outcome(vector, error, cr2, rip, regs, rflags, fx, bytes(self.data), high)

    def set_high(self, high: bytes) -> None:
        """Vector registers above XMM for the next case; where their new values go is zeros first, for
        XSAVEC leaves out what is in its initial state."""
        header, area = IN_XSAVE - EXCHANGE + XSAVE_HEADER, IN_XSAVE - EXCHANGE + XSAVE_HIGH
        struct.pack_into("<QQ", self.exchange, header, self.components, self.components | COMPACTED)
        self.exchange[area : area + HIGH_BYTES] = high
        area = OUT_XSAVE - EXCHANGE + XSAVE_HEADER
        self.exchange[area : area + 64 + HIGH_BYTES] = bytes(64 + HIGH_BYTES)


def main() -> None:
    """Batches from stdin, outcomes to stdout; each batch a count, then records."""
    processor = Processor()
    while count := sys.stdin.buffer.read(4):
        records = sys.stdin.buffer.read(struct.unpack("<I", count)[0] * Case.FORMAT.size)
        size = Case.FORMAT.size
        cases = [Case.unpack(records[at : at + size]) for at in range(0, len(records), size)]
        sys.stdout.buffer.write(b"".join(processor.run(case).pack() for case in cases))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
