"""What of an outcome the manuals define, and where two outcomes differ in it.

Nothing is masked but what is listed here: a row's column of undefined flags (SDM vol. 2, the
instruction's page) with the rules for counts, and what the functions here say of registers, CR2 and
the FXSAVE image.
"""

from __future__ import annotations

import struct
from typing import Any

from assemble import rm_operand
from case import ARITHMETIC, CF, FLAGS, GENERAL, NONE, OF, RCX, XM, Outcome
from float_state import MXCSR_OFFSET, ST_OFFSET, XMM_OFFSET
from generate import Sample
from vector_state import high_parts

MXCSR_OE, MXCSR_UE, MXCSR_PE, MXCSR_OM, MXCSR_UM = 8, 0x10, 0x20, 0x400, 0x800
MXCSR_FLAGS = 0x3F


def shift_count(sample: Sample) -> int:
    """The masked count of a shift or rotate."""
    by_cl = "CL" in sample.row.operands
    count = sample.case.regs[RCX] if by_cl else sample.choice.immediate
    return count & (63 if sample.variant.width == 64 else 31)


def operand_bits(sample: Sample) -> int:
    return sample.variant.width or 8


def undefined_flags(sample: Sample) -> int:
    """Flags that the instruction leaves undefined, as a mask."""
    row = sample.row
    mask = sum(FLAGS[letter] for letter in row.undefined)
    if "count" not in row.attributes:
        return mask
    count = shift_count(sample)
    if count == 0:
        # SDM vol. 2, SAL/SAR/SHL/SHR: "If the count is 0, the flags are not affected"
        return 0
    if count == 1:
        mask &= ~OF
    if row.mnemonic in ("shl", "shr") and count >= operand_bits(sample):
        # the same page: CF is undefined where the count is the size of the destination, or more
        mask |= CF
    return mask


def undefined_register(sample: Sample) -> int:
    """Number of the register that the instruction leaves undefined, or -1."""
    if "zerosrc" not in sample.row.attributes:
        return -1
    # SDM vol. 2, BSF and BSR: the destination is undefined if the source is 0
    found = sample.operand
    source = int.from_bytes(found, "little") if found else sample.case.regs[sample.choice.rm]
    return sample.choice.reg if source & (1 << sample.variant.width) - 1 == 0 else -1


def undefined_state(sample: Sample, judge: Outcome) -> set[str]:
    """Parts of the FXSAVE image that are not defined."""
    if judge.vector == NONE or "mmx" not in sample.row.attributes:
        return set()
    # SDM vol. 1, 9.5.1 doesn't say whether a faulting MMX instruction has reset TOP and the tags already
    return {"fsw", "ftw", *(f"st{n}" for n in range(8))}


def ignore_scaled_precision(judge: Outcome, *states: dict[str, Any]) -> None:
    """A known gap, no freedom of the manuals: PE at an unmasked underflow or overflow.

    SDM vol. 1, 4.9.1.5: it tells whether the result is exact with an unbounded exponent; we say
    whether the denormal or infinity is, as the host has it with these exceptions masked.
    """
    mxcsr = states[0]["mxcsr"]
    is_scaled = (mxcsr & MXCSR_UE and not mxcsr & MXCSR_UM) or (mxcsr & MXCSR_OE and not mxcsr & MXCSR_OM)
    if judge.vector == XM and is_scaled:
        for state in states:
            state["mxcsr"] &= ~MXCSR_PE


def ignore_steps(sample: Sample, judge: Outcome, *states: dict[str, Any]) -> None:
    """Another: MXCSR's flags at a #XM of DPPS or DPPD, which stops at the first step that faults.

    The host does all steps for us, with exceptions masked, and has the flags of them all together.
    """
    if judge.vector == XM and sample.row.mnemonic.removeprefix("v") in ("dpps", "dppd"):
        for state in states:
            state["mxcsr"] &= ~MXCSR_FLAGS


def is_defined(sample: Sample) -> bool:
    """Whether the instruction has a result at all.

    SDM vol. 2, SHLD and SHRD: no, if the count is greater than the operand size.
    """
    return sample.row.mnemonic not in ("shld", "shrd") or shift_count(sample) <= operand_bits(sample)


def fx_parts(fx: bytes) -> dict[str, Any]:
    """The image by name.

    Left out: FOP, FIP and FDP, which AMD processors save only while an exception is pending (APM
    vol. 2, 11.4.4), MXCSR_MASK, a property of the processor, and the reserved bytes.
    """
    control, status, tags = struct.unpack_from("<HHB", fx)
    found: dict[str, Any] = {"fcw": control, "fsw": status, "ftw": tags}
    found["mxcsr"] = struct.unpack_from("<I", fx, MXCSR_OFFSET)[0]
    for n in range(8):
        found[f"st{n}"] = fx[ST_OFFSET + 16 * n : ST_OFFSET + 16 * n + 10].hex()
    for n in range(16):
        found[f"xmm{n}"] = fx[XMM_OFFSET + 16 * n : XMM_OFFSET + 16 * n + 16].hex()
    return found


def differences(sample: Sample, judge: Outcome, ours: Outcome, flags: int = ARITHMETIC) -> list[str]:
    """Each part that differs: what the judge has, what we have. `flags` is a mask of those compared."""
    found: list[str] = []
    if not is_defined(sample):
        return found

    def check(name: str, theirs: object, own: object) -> None:
        if theirs != own:
            shown = [hex(value) if isinstance(value, int) else value for value in (theirs, own)]
            found.append(f"{name}: judge {shown[0]}, ours {shown[1]}")

    check("vector", judge.vector, ours.vector)
    check("rip", judge.rip, ours.rip)
    if judge.vector == ours.vector:
        check("error code", judge.error, ours.error)
        # which byte of an operand larger than a word faults first is the processor's affair
        in_page = 0xFFF if rm_operand(sample.row) == "M" or "maskmov" in sample.row.mnemonic else 0
        check("cr2", judge.cr2 | in_page, ours.cr2 | in_page)
    skipped = undefined_register(sample)
    for number, name in enumerate(GENERAL):
        if number != skipped or judge.vector != NONE:
            check(name, judge.regs[number], ours.regs[number])
    defined = flags if judge.vector != NONE else flags & ~undefined_flags(sample)
    check("rflags", judge.rflags & defined, ours.rflags & defined)
    if judge.fx != ours.fx:
        theirs_fx, ours_fx = fx_parts(judge.fx), fx_parts(ours.fx)
        ignore_scaled_precision(judge, theirs_fx, ours_fx)
        ignore_steps(sample, judge, theirs_fx, ours_fx)
        for name in theirs_fx.keys() - undefined_state(sample, judge):
            check(name, theirs_fx[name], ours_fx[name])
    if judge.high != ours.high:
        theirs_high, ours_high = high_parts(judge.high), high_parts(ours.high)
        for name in theirs_high:
            check(name, theirs_high[name], ours_high[name])
    if judge.data != ours.data:
        at = next(k for k in range(len(judge.data)) if judge.data[k] != ours.data[k])
        check(f"data at +{at:#x}", judge.data[at : at + 16].hex(), ours.data[at : at + 16].hex())
    return found


def state_differences(judge: Outcome, ours: Outcome, flags: int) -> list[str]:
    """Of a sequence: everything but `flags` is defined."""
    shown = {"vector": "vector", "rip": "rip", "error": "error code"}
    found = [
        f"{title}: judge {getattr(judge, name):#x}, ours {getattr(ours, name):#x}"
        for name, title in shown.items()
        if getattr(judge, name) != getattr(ours, name)
    ]
    theirs = fx_parts(judge.fx) | high_parts(judge.high)
    own = fx_parts(ours.fx) | high_parts(ours.high)
    theirs |= dict(zip(GENERAL, map(hex, judge.regs), strict=True))
    own |= dict(zip(GENERAL, map(hex, ours.regs), strict=True))
    theirs["rflags"], own["rflags"] = hex(judge.rflags & flags), hex(ours.rflags & flags)
    theirs["data"], own["data"] = judge.data[:256].hex(), ours.data[:256].hex()
    differing = [name for name in theirs if theirs[name] != own[name]]
    found += [f"{name}: judge {theirs[name]}, ours {own[name]}" for name in differing]
    return found if found or judge.data == ours.data else ["data"]


def report(sample: Sample, found: list[str]) -> str:
    """A failing case as one can read it."""
    case = sample.case
    lines = [str(sample), *found]
    lines.append("before: " + " ".join(f"{n}={v:x}" for n, v in zip(GENERAL, case.regs, strict=True)))
    lines.append(f"before: rflags={case.rflags:x} operand={sample.operand.hex()}")
    if sample.row.attributes & {"avx", "avx512"}:
        lines.append("before: " + " ".join(f"{n}={v}" for n, v in high_parts(case.high).items()))
    if sample.row.attributes & {"sse", "mmx", "x87", "avx", "avx512"}:
        parts = fx_parts(case.fx)
        shown = ("fcw", "fsw", "ftw", "mxcsr", *(f"st{n}" for n in range(8)))
        lines.append("before: " + " ".join(f"{n}={parts[n]}" for n in shown))
        lines.append("before: " + " ".join(f"xmm{n}={parts[f'xmm{n}']}" for n in range(16)))
    return "\n".join(lines)
