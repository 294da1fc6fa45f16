"""`ringfence explain`: what in x86 a virtual machine monitor must watch, in general, in a file or in a run.

A *privileged* instruction faults outside ring 0, so a monitor can wait for the fault. A *sensitive* one
(privilege-sensitive) does not fault and yet shows or depends on privileged state: these make x86 hard to
virtualize (Robin and Irvine, 2000; Popek and Goldberg's condition, 1974).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ringfence.errors import ImageError

CLASSES = {
    "privileged": "fault outside ring 0",
    "sensitive": "do not fault, yet show or depend on privileged state",
    "innocuous": "the same in every ring",
}
MARKS = {"privileged": "P", "sensitive": "S", "innocuous": " "}
#: not in the table: Ringfence's guests don't have it
UNKNOWN = "?"
#: width of tables that do not go to a terminal
PIPE_COLUMNS = 130
CHUNK_BYTES = 1 << 20
MAX_INSTRUCTION_BYTES = 15


@dataclass(frozen=True, slots=True)
class Code:
    """A stretch of machine code."""

    name: str
    address: int
    data: bytes
    bits: int


@click.command("explain")
@click.argument("what", metavar="x86|FILE|REPORT.json")
@click.option("--bits", type=click.Choice(["16", "32", "64"]), default="64", show_default=True,
              help="Code width of a FILE that is not ELF.")  # fmt: skip
@click.option("--all", "shows_all", is_flag=True, help="List all: of x86, the innocuous instructions too.")
@click.option("--marked", is_flag=True, help="FILE: print only what is marked.")
def command(what: str, bits: str, shows_all: bool, marked: bool) -> None:
    """List x86's privileged and privilege-sensitive instructions, or mark them in a binary.

    'x86' prints the lists. FILE, an x86 ELF or raw code, is disassembled; P marks a privileged instruction,
    S a privilege-sensitive one, ? one that Ringfence's instruction table does not have. REPORT.json, from
    `ringfence run --report REPORT.json`, shows what such instructions and everything else cost in that run.
    """
    if what.endswith(".json"):
        _explain_report(Path(what), shows_all)
        return
    lines = _list_rows(shows_all) if what == "x86" else _mark_file(Path(what), int(bits), marked)
    for line in lines:
        click.echo(line)


def _explain_report(path: Path, shows_all: bool) -> None:
    from rich.console import Console

    from ringfence.cli.explain_report import report_tables

    tables = report_tables(path, shows_all)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    for table in tables:
        console.print(table)
        console.print()


def _list_rows(shows_all: bool) -> Iterator[str]:
    from ringfence.core.x86._gen_rows import ROWS

    for klass, meaning in CLASSES.items():
        rows = [row for row in ROWS if row.klass == klass]
        yield f"{klass} ({meaning}): {len(rows)}"
        if klass == "innocuous" and not shows_all:
            yield "  (--all lists them)"
            continue
        yield f"  {'instruction':<28} {'encoding':<24} {'reads':<8} {'writes':<8} {'memory':<6} feature"
        for row in rows:
            name = f"{row.mnemonic} {','.join(row.operands)}"
            line = (
                f"  {name:<28} {row.encoding:<24} {row.reads:<8} {row.writes:<8} {row.mem:<6} {row.feature}"
            )
            yield line.rstrip()
        yield ""


def _mark_file(path: Path, bits: int, only_marked: bool) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for code in _code_of(path, bits):
        yield f"{code.name}: {code.bits}-bit code at {code.address:#x}, {len(code.data)} bytes"
        for address, raw, text, klass in _disassemble(code):
            counts[klass] += 1
            mark = MARKS.get(klass, UNKNOWN)
            if mark != " " or not only_marked:
                yield f"{mark} {address:8x}  {raw.hex():<22} {text}"
    total = sum(counts.values())
    named = (f"{counts[klass]} {klass}" for klass in (*CLASSES, "unknown") if counts[klass])
    yield f"{total} instructions: {', '.join(named)}" if total else "no code"


def _disassemble(code: Code) -> Iterator[tuple[int, bytes, str, str]]:
    from iced_x86 import Decoder, Formatter, FormatterSyntax

    from ringfence.cli.rows import find_row

    formatter = Formatter(FormatterSyntax.INTEL)
    at = 0
    while at < len(code.data):
        chunk = code.data[at : at + CHUNK_BYTES]
        is_last = at + len(chunk) == len(code.data)
        decoder = Decoder(code.bits, chunk, ip=code.address + at)
        while decoder.can_decode and (is_last or decoder.position < len(chunk) - MAX_INSTRUCTION_BYTES):
            start = decoder.position
            instruction = decoder.decode()
            raw = chunk[start : decoder.position]
            if instruction.is_invalid:
                yield code.address + at + start, raw, "(bad)", "unknown"
                continue
            row = find_row(raw, code.bits)
            yield instruction.ip, raw, formatter.format(instruction), row.klass if row else "unknown"
        at += decoder.position


def _code_of(path: Path, bits: int) -> Iterator[Code]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error
    if not data:
        raise ImageError(f"{path}: the file is empty")
    if data.startswith(b"\x7fELF"):
        yield from _elf_code(path, data)
    else:
        yield Code(path.name, 0, data, bits)


def _elf_code(path: Path, data: bytes) -> list[Code]:
    """The executable sections; of a stripped file without sections, its executable segments."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import P_FLAGS, SH_FLAGS
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        bits = {"EM_386": 32, "EM_X86_64": 64}.get(elf["e_machine"])
        if bits is None:
            raise ImageError(f"{path}: an ELF file for another machine ({elf['e_machine']})")
        found = [
            Code(section.name, section["sh_addr"], section.data(), bits)
            for section in elf.iter_sections()
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and section["sh_type"] == "SHT_PROGBITS"
        ]
        if elf.num_sections() == 0:
            found = [
                Code(f"segment {number}", segment["p_vaddr"], segment.data(), bits)
                for number, segment in enumerate(elf.iter_segments())
                if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & P_FLAGS.PF_X
            ]
    except (ELFError, UnicodeDecodeError, ValueError, KeyError, OverflowError, AttributeError) as error:
        raise ImageError(f"{path}: a damaged ELF file") from error
    return found
