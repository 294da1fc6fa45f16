"""Source of the generated handlers: a table row, an operand width and a form become a function.

A form is `r` (ModRM names a register, or there is no ModRM), `m` (memory) or `l` (memory, LOCK).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from x86_table import Row

WIDTH_BYTES = {"b": 1, "w": 2, "d": 4, "q": 8}
DECORATORS = "@cython.cfunc\n@cython.nogil\n@cython.exceptval(check=False)\n"


@dataclass(frozen=True)
class Handler:
    """A C function: its name, and its source when generated; else the module that has it."""

    name: str
    module: str
    source: str = ""


def size_of(operand: str, width: int) -> int:
    """Bytes of one operand when the operand size is `width` bytes."""
    if operand in ("AL", "CL", "1", "Ibs", "Ib"):
        return 1 if operand in ("AL", "CL", "1") else width
    if operand in ("rAX", "eAX"):
        return width
    code = operand[1:]
    if code in WIDTH_BYTES:
        return WIDTH_BYTES[code]
    if code == "y":
        return max(width, 4)
    if code == "z" and operand[0] != "I":
        return min(width, 4)
    return width


def widths_of(row: Row) -> list[int]:
    """Operand sizes in bytes for which the row needs handlers of its own."""
    codes = {o[1:] for o in row.operands if o[0] in "EGMZBROXY"}
    names = set(row.operands)
    if codes & {"v", "z"} or names & {"rAX", "eAX"} or "Iz" in names or "Iv" in names:
        return [2, 4, 8]
    if "y" in codes:
        return [4, 8]
    if codes & {"b"} or "AL" in names:
        return [1]
    return []


def is_memory(operand: str) -> bool:
    return operand[0] in "EM" and operand not in ("eAX",)


def read_expression(operand: str, size: int, form: str) -> str:
    if is_memory(operand):
        return f"load(cpu, la, {size})" if form != "r" else f"get_reg(cpu, i.rm, {size})"
    if operand[0] == "O":
        return f"load(cpu, moffs(cpu, i, {size}, 0), {size})"
    if operand[0] == "I":
        return f"truncate(cython.cast(uint64_t, i.imm), {size * 8})"
    if operand == "1":
        return "1"
    return f"get_reg(cpu, {register_field(operand)}, {size})"


def register_field(operand: str) -> str:
    if operand in ("AL", "rAX", "eAX"):
        return "0"
    if operand == "CL":
        return "8"
    return {"G": "i.reg", "B": "i.vvvv", "Z": "i.vvvv", "E": "i.rm", "M": "i.rm"}[operand[0]]


def compose(row: Row, semantic: str, modes: list[str], width: int, form: str) -> Handler:
    """The function for one row, width and form, around `sem_<semantic>`."""
    operands = list(row.operands)
    name = f"{semantic}_{'_'.join(modes)}_{'_'.join(operands)}_{width * 8}_{form}".replace("1_", "one_")
    name = re.sub(r"\W", "", name)
    sizes = [size_of(o, width) for o in operands]
    target = operands[0]
    writes = "w" in modes[0]
    memory_target = form != "r" and is_memory(target) and writes
    bits = sizes[0] * 8
    lines = []
    call = (
        f"sem_{semantic}(cpu, "
        + "".join(f"v{k}, " for k, mode in enumerate(modes) if "r" in mode)
        + f"{bits})"
    )
    memory_at = next((k for k, o in enumerate(operands) if is_memory(o)), None)
    if form != "r" and memory_at is not None:
        lines.append(f"la: uint64_t = ea(cpu, i, {sizes[memory_at]}, {int(memory_target)})")
    for k, mode in enumerate(modes):
        if "r" in mode and not (k == 0 and memory_target):
            lines.append(f"v{k}: uint64_t = {read_expression(operands[k], sizes[k], form)}")
    if memory_target and "r" in modes[0]:
        lines += read_modify_write(call, sizes[0], form)
    elif not writes:
        lines.append(call)
    else:
        lines.append(f"r: uint64_t = {call}")
        if memory_target:
            lines.append(f"store(cpu, la, r, {sizes[0]})")
        elif target[0] == "O":
            lines.append(f"store(cpu, moffs(cpu, i, {sizes[0]}, 1), r, {sizes[0]})")
        else:
            lines.append(f"set_reg(cpu, {register_field(target)}, r, {sizes[0]})")
    lines.append("next_(cpu, i)")
    return Handler(name, "", function(name, lines))


def read_modify_write(call: str, size: int, form: str) -> list[str]:
    lines = [
        f"host: cython.pointer(uint8_t) = probe_write(cpu, la, {size})",
        "if host == cython.NULL:",
        f"    host = rmw_slow(cpu, la, {size})",
        "v0: uint64_t",
        "r: uint64_t",
    ]
    plain = [f"v0 = peek_host(host, {size})", f"r = {call}", f"poke_host(host, r, {size})"]
    if form == "m":
        lines += plain
    else:
        lines += [
            "flag_result: int64_t = cpu.a.flag_result",
            "flag_carry: uint64_t = cpu.a.flag_carry",
            "while True:",
            f"    v0 = peek_host(host, {size})",
            f"    r = {call}",
            f"    if cas(host, v0, r, {size}):",
            "        break",
            "    cpu.a.flag_result = flag_result",
            "    cpu.a.flag_carry = flag_carry",
        ]
    return [*lines, "if host == bounce(cpu):", f"    rmw_finish(cpu, la, {size})"]


def function(name: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"{DECORATORS}def {name}(cpu: CpuP, i: InstrP) -> cython.void:\n{body}"


def forms_of(row: Row) -> list[str]:
    """Which of r, m, l the row can take."""
    forms = []
    if not row.has_modrm or row.form != 1:
        forms.append("r")
    if row.has_modrm and row.form != 2 and row.exact < 0:
        forms.append("m")
        if "lock" in row.attributes:
            forms.append("l")
    return forms


def handlers_of(row: Row) -> dict[tuple[int, str], Handler]:
    """(log2 width, form) -> handler. A row without widths of its own has one for all."""
    table: dict[tuple[int, str], Handler] = {}
    widths = widths_of(row)
    generated = re.fullmatch(r"(\w+)\(([rw,]+)\)", row.handler)
    for form in forms_of(row):
        for log2 in range(4):
            width = 1 << log2
            if generated:
                if widths and width not in widths:
                    continue
                modes = generated.group(2).split(",")
                if len(modes) != len(row.operands):
                    raise SystemExit(f"{row.place}: {row.handler} does not fit {row.operands}")
                table[log2, form] = compose(row, generated.group(1), modes, width, form)
            else:
                table[log2, form] = named(row, log2, form)
    return table


def named(row: Row, log2: int, form: str) -> Handler:
    """A hand-written handler, or a generated instance of an inline one."""
    match = re.fullmatch(r"(\w+)\.(\w+)(\[(v|cc)\])?", row.handler)
    if not match:
        raise SystemExit(f"{row.place}: no handler {row.handler!r}")
    module, name, _, parameter = match.groups()
    if parameter is None:
        return Handler(name, module)
    value = 1 << log2 if parameter == "v" else row.opcode & 15
    instance = f"{module}_{name}_{value}"
    return Handler(instance, "", function(instance, [f"{module}_{name}(cpu, i, {value})"]))
