"""Processes in a Debian guest: many at once, and each exception delivered as its signal."""

from __future__ import annotations

import pytest
from session import Session


@pytest.mark.parametrize("program", ["processes", "faults"])
def test_program_of_checks(shell: Session, program: str) -> None:
    output = shell.run(program, timeout=300)
    assert f"{program}: 0 failures" in output
    assert "bad" not in output


def test_a_pipeline_of_processes(shell: Session) -> None:
    assert shell.run("seq 1 2000 | sort -r | awk '{s += $1} END {print s}' | cat") == "2001000"


def test_a_large_file_keeps_its_sum(shell: Session) -> None:
    shell.run("dd if=/dev/urandom of=/tmp/f bs=64k count=32 2>/dev/null; gzip -k /tmp/f")
    assert shell.run("gunzip -c /tmp/f.gz | cmp - /tmp/f && echo same") == "same"
    assert shell.run("md5sum < /tmp/f") == shell.run("gunzip -c /tmp/f.gz | md5sum")


def test_a_crashing_process_does_not_take_the_kernel_down(shell: Session) -> None:
    assert shell.run("sh -c 'kill -SEGV $$' ; echo $?").endswith("139")
    assert shell.run("echo alive") == "alive"
