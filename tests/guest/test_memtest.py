"""memtest86+ from Debian: a bare-metal program with its own paging, on a small machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from session import Session

from ringfence.image import deb

SERIAL = "console=ttyS0,115200 nosmp"


@pytest.fixture(scope="module", params=["memtest86+x64.bin", "memtest86+ia32.bin"])
def binary(memtest: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memtest") / request.param
    ((_, content),) = deb.members(memtest, lambda name: name.endswith(f"boot/{request.param}"))
    path.write_bytes(content)
    return path


def test_it_starts_and_tests_memory(binary: Path) -> None:
    session = Session("--kernel", binary, "--append", SERIAL, "--memory", "32M")
    try:
        session.expect("Memtest86", 60)
        session.expect(r"#0  \[Address test, walking ones", 60)
        session.expect(r"#1  \[Address test, own address", 600)
        session.expect(r"Errors: 0 ", 60)
    finally:
        session.kill()


@pytest.mark.nightly
def test_its_first_pass_finds_no_error(binary: Path) -> None:
    session = Session("--kernel", binary, "--append", SERIAL, "--memory", "32M")
    try:
        session.expect(r"Pass complete, no errors", 3600)
    finally:
        session.kill()
