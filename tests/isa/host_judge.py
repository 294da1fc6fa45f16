"""Judge 1: the bare host CPU, in a child process, so that a crash is a result and not an end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from case import INSTRUCTION, Case, Outcome

CHILD = Path(__file__).with_name("host_child.py")
#: as /proc/cpuinfo calls the features of tables/cpuid.tbl, where it differs
CPUINFO_NAMES = {
    "sse3": "pni", "pclmul": "pclmulqdq", "sse41": "sse4_1", "sse42": "sse4_2", "lzcnt": "abm",
    "sha": "sha_ni", "lahf": "lahf_lm", "prefetchw": "3dnowprefetch",
}  # fmt: skip


class HostCrash(Exception):
    """The child died: the instruction did something that is no exception of its own."""


def host_features() -> set[str]:
    """CPUID feature names of the host, as /proc/cpuinfo spells them."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


class HostJudge:
    """Runs batches of cases natively; starts a new child when one has died."""

    def __init__(self) -> None:
        self.features = host_features()
        self._child: subprocess.Popen[bytes] | None = None

    def has(self, feature: str) -> bool:
        return not feature or CPUINFO_NAMES.get(feature, feature) in self.features

    def run(self, cases: list[Case]) -> list[Outcome]:
        """What the host makes of each case.

        Raises:
            HostCrash: the child died on one of them.
        """
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._child.stdin and self._child.stdout
        request = len(cases).to_bytes(4, "little") + b"".join(case.pack() for case in cases)
        try:
            self._child.stdin.write(request)
            self._child.stdin.flush()
        except BrokenPipeError:
            pass
        size = Outcome.FORMAT.size
        answer = self._child.stdout.read(size * len(cases))
        if len(answer) != size * len(cases):
            codes = " ".join(case.code.hex() for case in cases)
            self.close()
            raise HostCrash(f"the host's child died in one of: {codes}")
        outcomes = [Outcome.unpack(answer[at : at + size]) for at in range(0, len(answer), size)]
        for case, outcome in zip(cases, outcomes, strict=True):
            if outcome.vector >= 0 and not 0 <= outcome.rip - INSTRUCTION < len(case.code):
                raise HostCrash(f"{case.code.hex()}: fault {outcome.vector} at {outcome.rip:#x}")
        return outcomes

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
