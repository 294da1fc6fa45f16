"""Listings: each guest instruction beside its code, and names for everything."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from rig import CODE, STACK0
from translated_code import translate

from ringfence.errors import HostError, UserError
from ringfence.inspection.listing import GUEST_COLUMN, list_block
from ringfence.inspection.perf_map import open_perf_map, write_perf_map
from ringfence.inspection.symbols import Names, SystemMap

SYSTEM_MAP = "0000000000008000 T start\n0000000000008003 t inner\n0000000000009000 D data\n"


@pytest.fixture
def symbols(tmp_path: Path) -> SystemMap:
    path = tmp_path / "System.map"
    path.write_text(SYSTEM_MAP)
    return SystemMap(path)


def test_each_guest_instruction_is_beside_its_code(symbols: SystemMap) -> None:
    found, block = translate("4801d8488b4b084889042500000300f4", rbx=STACK0)
    lines = list(list_block(block, Names(found), symbols))
    assert "0x8000 <start>" in lines[0] and "4 instructions" in lines[1]
    beside = {line[25:GUEST_COLUMN].strip(): line[GUEST_COLUMN:].strip() for line in lines[2:]}
    assert beside["add rax, rbx"] == "add rax, rbx"
    assert beside["mov rcx, [rbx+8]"].startswith("mov r10, rax") or "lea" in beside["mov rcx, [rbx+8]"]
    guest = [line[:GUEST_COLUMN].split()[0] for line in lines[2:] if line[:GUEST_COLUMN].strip()]
    assert guest[:4] == ["8000", "8003", "8007", "800f"]
    text = "\n".join(lines)
    for name in (
        "tlb.supervisor.read.tag]",
        "tlb.supervisor.write[48].tag",
        "[cpu.site], site_0_memory",
        "callout_",
    ):
        assert name in text, name
    layout = found.layout
    assert not [line for line in lines if f"{layout.context[0] >> 20:x}" in line.partition("[")[2]]


def test_names_of_the_context() -> None:
    found, block = translate("90f4")
    names = Names(found)
    fields = {field.name: field.address for field in found.layout.fields}
    assert names.address(fields["r10"], False) == "cpu.r10"
    assert names.address(fields["budgets"] + 4, False) == "cpu.budgets+4"
    assert names.address(found.layout.jumps + 16 * 5 + 8, False) == "jumps[5].host"
    assert names.address(found.layout.jumps, True) == "jumps.tag"
    assert names.address(found.layout.context[1], False) is None
    assert names.code(block.entry) == "block_8000" and names.code(1) is None


def test_a_system_map(symbols: SystemMap, tmp_path: Path) -> None:
    assert [symbols.name(at) for at in (0, 0x8000, 0x8002, 0x8003, 0xFFFF)] == [
        None, "start", "start+0x2", "inner", "inner+0x7ffc",
    ]  # fmt: skip
    (tmp_path / "other").write_text("hello world\n")
    with pytest.raises(UserError, match=r"not a System\.map"):
        SystemMap(tmp_path / "other")
    with pytest.raises(UserError, match="No such file"):
        SystemMap(tmp_path / "none")


def test_a_perf_map(symbols: SystemMap, tmp_path: Path) -> None:
    found, block = translate("90f4")
    path = tmp_path / "map"
    target = tmp_path / "target"
    path.symlink_to(target)
    write_perf_map([found], symbols, open_perf_map(path))
    assert not target.exists() and path.stat().st_mode & 0o777 == 0o600
    rows = {
        name: (int(at, 16), int(size, 16)) for at, size, name in map(str.split, path.read_text().splitlines())
    }
    assert rows["guest:start"] == (found.layout.code[0] + block.entry, len(block.host))
    assert any(name.startswith("ringfence:callout_") for name in rows)
    assert all(at + size <= following for (at, size), (following, _) in pairwise(sorted(rows.values())))
    write_perf_map([found], None, open_perf_map(path))
    assert f"guest:{CODE:x}" in path.read_text()
    os.mkdir(tmp_path / "folder")
    with pytest.raises(HostError):
        open_perf_map(tmp_path / "folder")
