"""Guest memory written by another thread while guest code runs."""

from __future__ import annotations

import threading

from rig import CODE, Rig

from ringfence.core.exits import Reason


def test_code_written_by_another_thread_is_seen_after_a_kick() -> None:
    rig = Rig("long")
    rig.load(bytes.fromhex("ebfe"))
    reasons: list[Reason] = []
    started = threading.Event()

    def spin() -> None:
        started.set()
        while not reasons or reasons[-1] is Reason.INTERRUPTED:
            reasons.append(Reason(rig.cpu.run()))

    thread = threading.Thread(target=spin)
    thread.start()
    started.wait()
    while not rig.cpu.counters()["blocks_decoded"]:
        pass
    rig.memory.write(CODE, b"\xf4\xf4")
    thread.join(10)
    assert not thread.is_alive()
    assert reasons[-1] is Reason.HLT and rig.regs.rip == CODE + 1
