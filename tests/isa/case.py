"""One instruction with the state it starts from, and what became of it: plain values that cross processes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: Two pages of data and one of code, at the same linear addresses on the host and in the guest.
#: Nothing is mapped right before the data and between the data and the code.
DATA = 0x2000_0000
DATA_BYTES = 0x2000
CODE = 0x2001_0000
INSTRUCTION = CODE + 0x800

WINDOW_BYTES = 128
#: vector state above the XMM registers, as an XSAVE area in the compacted form has it from byte 576 on
HIGH_BYTES = 256 + 64 + 512 + 1024
NO_HIGH = bytes(HIGH_BYTES)
#: room for the code of a case
CODE_BYTES = 256
GENERAL = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)

CF, PF, AF, ZF, SF, DF, OF = 1, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 10, 1 << 11
ARITHMETIC = CF | PF | AF | ZF | SF | OF
FLAGS = {"c": CF, "p": PF, "a": AF, "z": ZF, "s": SF, "d": DF, "o": OF}

#: vector of an outcome without a fault
NONE = -1
DE, UD, NM, SS, GP, PF_VECTOR, MF, AC, XM = 0, 6, 7, 12, 13, 14, 16, 17, 19


@dataclass
class Case:
    """An instruction and its machine state. The data holds `window` from `window_at` on, zeros elsewhere."""

    code: bytes
    regs: list[int]
    rflags: int
    fx: bytes
    window_at: int
    window: bytes
    high: bytes = NO_HIGH

    FORMAT = struct.Struct(f"<Q{CODE_BYTES}s16QQ512sQ{WINDOW_BYTES}s{HIGH_BYTES}s")

    def pack(self) -> bytes:
        return self.FORMAT.pack(
            len(self.code), self.code, *self.regs, self.rflags, self.fx, self.window_at, self.window,
            self.high,
        )  # fmt: skip

    @classmethod
    def unpack(cls, record: bytes) -> Case:
        length, code, *regs, rflags, fx, window_at, window, high = cls.FORMAT.unpack(record)
        return cls(code[:length], regs, rflags, fx, window_at, window, high)


@dataclass
class Outcome:
    """The state after the instruction, or at the fault that it raised (`cr2`: of a page fault)."""

    vector: int
    error: int
    cr2: int
    rip: int
    regs: list[int]
    rflags: int
    fx: bytes
    data: bytes
    high: bytes = NO_HIGH

    FORMAT = struct.Struct(f"<q3Q16QQ512s{DATA_BYTES}s{HIGH_BYTES}s")

    def pack(self) -> bytes:
        return self.FORMAT.pack(
            self.vector, self.error, self.cr2, self.rip, *self.regs, self.rflags, self.fx, self.data,
            self.high,
        )  # fmt: skip

    @classmethod
    def unpack(cls, record: bytes) -> Outcome:
        vector, error, cr2, rip, *regs, rflags, fx, data, high = cls.FORMAT.unpack(record)
        return cls(vector, error, cr2, rip, regs, rflags, fx, data, high)
