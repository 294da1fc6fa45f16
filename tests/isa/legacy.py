"""Cases in 16- and 32-bit code for judge 2: real mode with segments apart, and flat protected mode."""

from __future__ import annotations

from dataclasses import dataclass

import float_state
from assemble import Choice, Memory, Variant, encode
from case import AF, ARITHMETIC, CF, DF, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, WINDOW_BYTES, Case
from generate import BIT_OFFSET, Sample
from values import Source
from x86_table import TABLES, Row, read_file

CODE = 0x8000
SEGMENT_PREFIXES = {"es": 0x26, "cs": 0x2E, "ss": 0x36, "ds": 0x3E, "fs": 0x64, "gs": 0x65}
STRINGS = {"movs", "cmps", "stos", "lods", "scas"}
BRANCHES = {"call", "jmp", "ret", "callf", "jmpf", "retf", "iret"}
USES_STACK = {"push", "pop", "pusha", "popa", "enter", "leave", "pushf", "popf"} | BRANCHES - {"jmp", "jmpf"}
#: of x86_system.tbl what has nothing to do with privilege in these modes
SYSTEM = {"pushf", "popf", "bound", "into", "cli", "sti"}
SYSTEM_REAL = SYSTEM | {"mov", "push", "pop", "les", "lds", "lss", "lfs", "lgs"} | BRANCHES
#: segment registers in the slots of a case that 32-bit code has no use for
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
TF = 0x100


@dataclass(frozen=True)
class Layout:
    """Where a mode's data is. `segments` are real-mode selectors; offsets of data lie in [low, high)."""

    bits: int
    data: int
    data_bytes: int
    low: int
    high: int
    segments: dict[str, int]

    def base(self, segment: str) -> int:
        return self.segments.get(segment, 0) << 4


#: In flat mode the data lies below 64 KiB, so that 16-bit addressing reaches it too.
FLAT = Layout(32, 0xC000, 0x4000, 0xC800, 0xF800, {})
REAL = Layout(
    16, 0x20000, 0x14000, 0x4000, 0xC000,
    {"es": 0x2000, "ds": 0x2100, "ss": 0x2200, "fs": 0x2300, "gs": 0x2400},
)  # fmt: skip
LAYOUTS = {16: REAL, 32: FLAT}
#: ModRM.rm of 16-bit addressing: base and index registers
PAIRS = ((RBX, RSI), (RBX, RDI), (RBP, RSI), (RBP, RDI), (RSI,), (RDI,), (RBP,), (RBX,))


def offset_of(source: Source, layout: Layout) -> int:
    """An offset well inside the data."""
    return layout.low + (source.byte() << 8 | source.byte()) % (layout.high - layout.low - 64)


def memory_16(source: Source, offset: int, regs: list[int]) -> tuple[Memory, bool]:
    """16-bit addressing of `offset`; whether the stack segment is the default."""
    rm = source.below(9)
    if rm == 8:
        return Memory(None, disp=offset, address_bits=16), False
    disp_bytes = 1 + source.below(2) if rm == 6 else source.below(3)
    disp = {0: 0, 1: source.byte() - 128, 2: source.value() & 0xFFFF}[disp_bytes]
    for register in PAIRS[rm]:
        regs[register] = source.value() & 0xFFFF_FFFF
    rest = sum(regs[register] for register in PAIRS[rm][1:]) + disp
    base = PAIRS[rm][0]
    regs[base] = regs[base] & 0xFFFF_0000 | (offset - rest) & 0xFFFF
    return Memory(rm, disp=disp, disp_bytes=disp_bytes, address_bits=16), base == RBP


def memory_32(source: Source, offset: int, regs: list[int], keeps_stack: bool) -> tuple[Memory, bool]:
    """The same with 32-bit addressing."""
    base = source.pick((RBX, RAX, RCX, RDX, RBP, RSI, RDI, RSP, None))
    if base is None or (base == RSP and keeps_stack):
        return Memory(None, disp=offset, address_bits=32), False
    index = source.pick((None, None, RAX, RDX, RBP, RSI))
    index = None if index == base or base == RSP else index
    scale = source.below(4) if index is not None else 0
    disp_bytes = source.pick((1, 4)) if base == RBP else source.pick((0, 1, 4))
    disp_bytes = min(disp_bytes, 1) if base == RSP else disp_bytes
    disp = {0: 0, 1: source.byte() - 128, 4: source.value() & 0xFFFF_FFFF}[disp_bytes]
    scaled = regs[index] << scale if index is not None else 0
    regs[base] = (offset - disp - scaled) & 0xFFFF_FFFF
    return Memory(base, index, scale, disp, disp_bytes, address_bits=32), base in (RBP, RSP)


def draw_registers(source: Source, row: Row, variant: Variant, choice: Choice, layout: Layout) -> list[int]:
    """Registers, a stack pointer in the data among them, and the fields that name registers."""
    regs = [source.value() & 0xFFFF_FFFF for _ in range(8)] + [0] * 8
    choice.reg, choice.rm, choice.low = source.below(8), source.below(8), source.below(8)
    choice.vvvv = source.below(8) if "By" in row.operands else 0
    choice.immediate = source.value()
    if "Ap" in row.operands:
        # the offset below 64 KiB, any selector
        choice.immediate = source.value() & 0x7FFF | (source.value() & 0xFFFF) << (variant.width or 16)
    # always in the data: a fault is delivered there
    regs[RSP] = offset_of(source, layout) & ~3
    if row.mnemonic in USES_STACK:
        regs[RBP] = offset_of(source, layout) & ~3
    if row.mnemonic in ("shld", "shrd") and variant.width == 16:
        # a count over 16 leaves the result undefined
        choice.immediate %= 17
        regs[RCX] = regs[RCX] & ~0x1F | source.below(17)
    if row.mnemonic in ("div", "idiv") and not source.one_in(4):
        regs[RDX] &= ~0xFFFF_FFFF if variant.width == 32 else ~0xFFFF
    return regs


def draw_bit_offset(source: Source, choice: Choice, regs: list[int]) -> None:
    """A bit offset in a register that takes no part in the address."""
    memory = choice.memory
    assert memory is not None
    used = {memory.base, memory.index}
    if memory.address_bits == 16:
        used = set(PAIRS[memory.base]) if memory.base is not None else set()
    choice.reg = next(reg for reg in (choice.reg, RCX, RAX, RDX) if reg not in used)
    regs[choice.reg] = ((source.value() & 0x7FF) - 0x400) & 0xFFFF_FFFF


def draw_string(source: Source, row: Row, choice: Choice, layout: Layout, regs: list[int]) -> int:
    """Registers of a string instruction and its prefix; the offset of what it reads."""
    regs[RSI], regs[RDI] = offset_of(source, layout), offset_of(source, layout)
    if source.one_in(2):
        choice.repeat = source.pick((0xF3, 0xF2)) if row.mnemonic in ("cmps", "scas") else 0xF3
        regs[RCX] = regs[RCX] & 0xFFFF_0000 if layout.bits == 16 else 0
        regs[RCX] |= source.below(6)
    if source.one_in(3):
        # equal for a while
        regs[RDI] = regs[RSI]
    return regs[RDI] if row.mnemonic == "scas" else regs[RSI]


def limit_branch(source: Source, row: Row, variant: Variant, choice: Choice, regs: list[int]) -> None:
    """Targets in the first 32 KiB: beyond 64, real mode has #GP, and unicorn checks no limits."""
    choice.immediate = source.value() & 0x7FF
    if row.mnemonic == "enter":
        choice.immediate = source.value() & 0xFF | source.below(40) << 16
    if not variant.is_memory and row.mnemonic in ("call", "jmp"):
        regs[choice.rm] &= 0x7FFF


def draw(row: Row, variant: Variant, source: Source) -> Sample:
    """A case of this variant of the row, in the variant's mode."""
    layout = LAYOUTS[variant.mode]
    choice = Choice()
    regs = draw_registers(source, row, variant, choice, layout)
    offset, segment, has_operand = offset_of(source, layout), "ds", variant.is_memory
    if "f64" in row.attributes or row.mnemonic == "enter":
        limit_branch(source, row, variant, choice, regs)
    if variant.is_memory:
        is_wide = source.one_in(2) == (variant.mode == 16)
        if is_wide:
            choice.memory, is_stack = memory_32(source, offset, regs, row.mnemonic in USES_STACK)
        else:
            choice.memory, is_stack = memory_16(source, offset, regs)
        segment = "ss" if is_stack else "ds"
        if row.mnemonic in BIT_OFFSET and "Gv" in row.operands:
            draw_bit_offset(source, choice, regs)
    elif row.mnemonic in STRINGS:
        offset, has_operand = draw_string(source, row, choice, layout, regs), True
        segment = "es" if row.mnemonic == "scas" else "ds"
    elif row.mnemonic == "xlat":
        regs[RBX] = offset
        offset, has_operand = offset + (regs[RAX] & 0xFF), True
    elif {"Ob", "Ov"} & set(row.operands):
        choice.immediate, has_operand = offset, True
    elif row.mnemonic in ("pop", "popa", "popf", "ret", "retf", "iret"):
        offset, segment, has_operand = regs[RSP], "ss", True
    elif row.mnemonic == "leave":
        offset, segment, has_operand = regs[RBP], "ss", True
    is_string_to_es = row.mnemonic in ("scas", "stos")
    if has_operand and segment == "ds" and not is_string_to_es and source.one_in(3):
        segment = source.pick(("ds", "es", "ss", "fs", "gs"))
        choice.prefixes += bytes([SEGMENT_PREFIXES[segment]])
    code = encode(row, variant, choice)
    rflags = source.random.getrandbits(12) & (ARITHMETIC | CF | AF | (DF if row.mnemonic in STRINGS else 0))
    window = draw_window(source, row, variant)
    data_at = layout.base(segment) + offset - layout.data
    window_at = min(max(data_at - WINDOW_BYTES // 2, 0), layout.data_bytes - WINDOW_BYTES)
    operand_at = data_at - window_at
    window = (source.random.randbytes(operand_at) + window).ljust(WINDOW_BYTES, b"\x5a")[:WINDOW_BYTES]
    case = Case(code, regs, rflags, float_state.DEFAULT, window_at, window)
    return Sample(row, variant, choice, case, operand_at if variant.is_memory else -1)


def draw_window(source: Source, row: Row, variant: Variant) -> bytes:
    """The operand in memory, and what follows it."""
    words = [source.value() & 0xFFFF_FFFF for _ in range(12)]
    if row.mnemonic in BRANCHES:
        # an offset in the first 32 KiB; a far one in front of any selector, or two of them
        words = [word & (0x7FFF_7FFF if variant.width == 16 else 0x7FFF) for word in words]
    if row.mnemonic in ("popf", "iret"):
        words = [word & ~(TF | TF << 16) for word in words]
    if row.mnemonic in ("cmps", "scas") and not source.one_in(3):
        words = [words[0]] * 12
    return b"".join(word.to_bytes(4, "little") for word in words)


def rows(mode: int) -> list[Row]:
    """The integer rows that judge 2 knows; random numbers and the processor's number can't be compared."""
    found = [row for row in read_file(TABLES / "x86.tbl") if row.klass == "innocuous"]
    system = SYSTEM_REAL if mode == 16 else SYSTEM
    for row in read_file(TABLES / "x86_system.tbl"):
        is_special = {"Cd", "Dd", "Cq", "Dq"} & set(row.operands)
        if row.mnemonic in system and not is_special:
            found.append(row)
    return [row for row in found if row.mnemonic not in ("rdrand", "rdseed", "rdpid")]
