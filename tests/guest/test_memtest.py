"""memtest86+ from Debian: a bare-metal program with its own paging, on a small machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from session import Session

from ringfence.image import deb

MEMORY = "16M"
#: Most of it is the bit fade test, which waits twice 80 seconds.
PASS_SECONDS = 900
#: The status line shows the passes done. It is not drawn anew for each test: what is between may be skipped.
FIRST_PASS = r"Pass:  1 +Errors: 0 "


def binary(memtest: Path, name: str, folder: Path) -> Path:
    """One of the package's kernels."""
    ((_, content),) = deb.members(memtest, lambda member: member.endswith(f"boot/{name}"))
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name", ["memtest86+x64.bin", pytest.param("memtest86+ia32.bin", marks=pytest.mark.nightly)]
)
def test_its_first_pass_finds_no_error(name: str, memtest: Path, tmp_path: Path) -> None:
    session = Session(
        "--kernel", binary(memtest, name, tmp_path), "--append", "console=ttyS0,115200", "--memory", MEMORY
    )
    try:
        session.expect("Memtest86", 60)
        session.expect(r"#0  \[Address test, walking ones", 60)
        session.expect(FIRST_PASS, PASS_SECONDS)
    finally:
        session.kill()


@pytest.mark.parametrize("name", ["memtest86+ia32.bin"])
def test_its_32_bit_kernel_starts_and_tests(name: str, memtest: Path, tmp_path: Path, engine: str) -> None:
    session = Session(
        "--kernel", binary(memtest, name, tmp_path), "--append", "console=ttyS0,115200", "--memory", MEMORY,
        "--engine", engine,
    )  # fmt: skip
    try:
        session.expect(r"#0  \[Address test, walking ones", 60)
        session.expect(r"#[1-9]  \[", 120)
        session.expect("Errors: 0 ", 60)
    finally:
        session.kill()
