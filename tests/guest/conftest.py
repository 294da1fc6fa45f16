"""Guests for the tests here: real kernels.

They come from a Debian mirror once and are cached; where neither is to be had, these tests fail, for a test
that quietly does not run holds nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import Account, User
from session import Session

from ringfence import VM
from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import Guest, fetch_debian, fetch_package

ENGINES = ("translate", "interpret")
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def debian() -> Guest:
    return fetch_debian()


@pytest.fixture(scope="session")
def account(debian: Guest) -> Iterator[Account]:
    account = Account(debian)
    yield account
    account.close()


@pytest.fixture(scope="module")
def owner(account: Account) -> User:
    """Of what the tests of a module share with guests."""
    return account.new_user()


@pytest.fixture
def user(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """A user without rights and with no machines; none is left at the end.

    The test's own process looks for machines where that user does.
    """
    user = account.new_user()
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, user.environment[variable])
    yield user
    for vm in VM.list():
        vm.remove(force=True)


@pytest.fixture(scope="session")
def debian_i386() -> Guest:
    return fetch_debian(arch="i386")


@pytest.fixture(scope="session")
def memtest() -> Path:
    return fetch_package("memtest86+")


@pytest.fixture(scope="session")
def initrd_with_programs(debian: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's, and after it a second archive with the C programs of this folder in /bin."""
    folder = tmp_path_factory.mktemp("programs")
    archive = CpioWriter()
    for source in sorted(PROGRAMS.glob("*.c")):
        binary = folder / source.stem
        subprocess.run(["gcc", "-O1", "-static", "-o", binary, source], check=True)
        archive.file(f"bin/{source.stem}", binary.read_bytes(), 0o755)
    initrd = folder / "initrd"
    initrd.write_bytes(debian.initrd.read_bytes() + archive.finish())
    return initrd


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def shell(debian: Guest, initrd_with_programs: Path, engine: str) -> Iterator[Session]:
    """Debian at its prompt, shared by a module's tests."""
    session = Session(
        "--kernel", debian.kernel, "--initrd", initrd_with_programs, "--append", "console=ttyS0 quiet",
        "--engine", engine,
    )  # fmt: skip
    try:
        yield session.boot()
    finally:
        session.kill()
