"""The code that the translator makes for typical blocks, written down for people to review.

`expected_translations.txt` has a section a block: its name, the guest's assembly and bytes, then the host's
assembly with names for all addresses. `test_translate_expect.py` compares. To write the file anew after a
change of the translator, and review what `git diff` then shows:

    PYTHONPATH=src python tests/unit/core/translate_expect.py

That needs nasm; the test does not.
"""

from __future__ import annotations

import gc
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rig import CODE, STACK0, Rig

from ringfence.api.translations import Translation, Translations
from ringfence.inspection.listing import host_lines
from ringfence.inspection.symbols import Names

FILE = Path(__file__).with_name("expected_translations.txt")
HEAD = (
    "# Written by translate_expect.py; see there. Guest assembly may be edited, the rest is made from it.\n"
)
BITS = {"long": 64, "protected": 32}
#: turns of a loop until it counts as hot
HOT_TURNS = 4_000_000


@dataclass(frozen=True, slots=True)
class Section:
    """One block. ``what`` is empty, or ``hot`` or ``twin``: which translation of it; or ``patched``."""

    name: str
    mode: str
    what: str
    guest: tuple[str, ...]
    code: bytes
    host: tuple[str, ...]

    def text(self) -> str:
        lines = [f"== {self.name}", f"mode {' '.join(filter(None, (self.mode, self.what)))}"]
        lines += [f"    {line}" for line in self.guest]
        return "\n".join([*lines, f"code {self.code.hex()}", *(f"    {line}" for line in self.host)]) + "\n"


def read_sections() -> Iterator[Section]:
    for part in FILE.read_text().split("== ")[1:]:
        name, mode, *lines = part.rstrip().splitlines()
        at = next(k for k, line in enumerate(lines) if line.startswith("code"))
        how, _, what = mode.removeprefix("mode ").partition(" ")
        guest, host = (
            tuple(line.removeprefix("    ") for line in half) for half in (lines[:at], lines[at + 1 :])
        )
        yield Section(name, how, what, guest, bytes.fromhex(lines[at].removeprefix("code")), host)


def translate(section: Section) -> tuple[str, ...]:
    """The host code of a section's block now."""
    rig = Rig(section.mode)
    rig.cpu.engine = "translate"
    rig.cpu.tune_translator(1)
    rig.cpu.patch_after = int(section.what == "patched")
    rig.load(section.code)
    for name in ("rbx", "rdi", "rsi", "rbp", "rdx"):
        setattr(rig.regs, name, STACK0)
    rig.regs.rcx = 2
    if section.what == "hot":
        rig.regs.rcx = HOT_TURNS
    if section.what == "twin":
        rig.regs.rcx, rig.regs.rbx = 200, STACK0 - 4
    rig.go_on()
    found = rig.cpu.translations()
    assert found is not None
    block = next(b for b in found.blocks if b.rip == CODE and b.is_twin == (section.what == "twin"))
    assert block.is_hot == (section.what == "hot")
    del rig
    # a processor and its views know one another, and memory below 2 GiB is scarce
    gc.collect()
    return tuple(_lines(block, found))


def _lines(block: Translation, found: Translations) -> Iterator[str]:
    starts = set(block.starts)
    for line in host_lines(block, Names(found)):
        if line.position in starts and not line.is_label:
            # between one instruction's code and the next one's
            starts.remove(line.position)
            yield f"; {block.starts.index(line.position)}"
        yield line.text.removeprefix("    ") if not line.is_label else line.text


def assemble(section: Section) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "block.asm"), Path(folder, "block.bin")
        lines = [f"bits {BITS[section.mode]}", f"org {CODE}", *section.guest]
        source.write_text("\n".join(lines) + "\n")
        subprocess.run(["nasm", "-f", "bin", "-o", binary, source], check=True)
        return binary.read_bytes()


def main() -> None:
    written = []
    for section in read_sections():
        code = assemble(section)
        made = Section(section.name, section.mode, section.what, section.guest, code, ())
        written.append(Section(made.name, made.mode, made.what, made.guest, code, translate(made)).text())
    FILE.write_text(HEAD + "\n" + "\n".join(written))


if __name__ == "__main__":
    main()
