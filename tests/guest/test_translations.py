"""All code that the translator makes of a Debian boot keeps to the verifier's rules."""

from __future__ import annotations

import pytest

from ringfence import Machine
from ringfence.image.debian import Guest
from ringfence.inspection.verifier import verify


@pytest.mark.nightly
def test_a_debian_boot(debian: Guest) -> None:
    with Machine(debian.kernel, initrd=debian.initrd, append="console=ttyS0 quiet", engine="translate") as vm:
        vm.start()
        vm.console.expect("# ", timeout=120)
        vm.console.send("ls -la /; cat /proc/cpuinfo | md5sum; echo done$((1+1))\n")
        vm.console.expect("done2", timeout=60)
        vm.pause()
        found = vm.cpus[0].translations()
    assert found is not None and len(found.blocks) > 10_000
    assert [str(violation) for violation in verify(found)][:10] == []
