"""Linux with AVX and AVX-512: it finds the state components, and keeps them for each process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from session import Session

from ringfence.core.x86.thunk import host_has
from ringfence.image.debian import Guest

MODELS = {"x86-64-v3": "avx2", "x86-64-v4": "avx512f"}


@pytest.fixture(params=MODELS)
def session(
    request: pytest.FixtureRequest, debian: Guest, initrd_with_programs: Path, engine: str
) -> Iterator[Session]:
    model: str = request.param
    if not host_has(MODELS[model]):
        pytest.skip(f"the host lacks {MODELS[model]}")
    found = Session(
        "--kernel", debian.kernel, "--initrd", initrd_with_programs, "--append", "console=ttyS0 quiet",
        "--cpu", model, "--engine", engine,
    )  # fmt: skip
    try:
        yield found.boot()
    finally:
        found.kill()


def test_linux_keeps_vector_registers(session: Session, request: pytest.FixtureRequest) -> None:
    model = request.node.callspec.params["session"]
    flags = session.run("grep -m1 ^flags /proc/cpuinfo").split()
    assert {"xsave", "xsaveopt", "xsavec", "avx", "fma", MODELS[model]} <= set(flags)
    output = session.run("vectors", timeout=300)
    assert f"avx 1 avx512 {int(model == 'x86-64-v4')}" in output
    assert "vectors: 0 failures" in output
    assert not session.run("dmesg | grep -i -e 'xstate size' -e 'fpu.*warn' -e 'WARNING:' || true")
