"""Blocks of a real boot, sampled: the interpreter and the translator go on from the same state."""

from __future__ import annotations

import re
import time
from random import Random

import pytest
from sampling import Judge, Moment

from benchmarks.guest_console import PROMPT
from ringfence import Machine
from ringfence.core.exits import Reason
from ringfence.image.debian import Guest

#: a boot takes a second or two; then the shell works until all samples are taken
WORK = """while :; do ls -lR / | sort | md5sum; cat /proc/*/maps | grep -c r-x
dd if=/dev/zero bs=64k count=9 | gzip | wc; done
"""


def sample(guest: Guest, model: str, count: int) -> None:
    random = Random(model)
    with Machine(
        guest.kernel, initrd=guest.initrd, append="console=ttyS0 quiet", memory="128M", cpu=model
    ) as machine:
        judge = Judge(machine)
        machine.start()
        taken = 0
        is_at_work = False
        while taken < count:
            if not is_at_work and re.search(PROMPT, machine.console.log):
                machine.console.send(WORK)  # an idle guest has no moments to look at
                is_at_work = True
            machine.resume()
            time.sleep(random.uniform(0.001, 0.06 if taken < count // 2 else 0.2))
            machine.pause()
            if machine.cpus[0].exit.reason != Reason.INTERRUPTED:
                # an access to a device is not over
                continue
            moment = Moment.of(machine)
            found = judge.compare(moment)
            assert not found, found
            taken += 1
        assert judge.doubts < count // 2
        assert judge.instructions > 500 * count


def test_a_boot(debian: Guest) -> None:
    sample(debian, "x86-64-v3", 30)


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["x86-64-v2", "x86-64-v3", "max"])
def test_many_moments_of_a_boot(debian: Guest, model: str) -> None:
    sample(debian, model, 1000)


@pytest.mark.nightly
def test_many_moments_of_a_32_bit_boot(debian_i386: Guest) -> None:
    sample(debian_i386, "x86-64-v2", 500)
