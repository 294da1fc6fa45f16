"""`ringfence.aio.VM` with a real guest: several things at once in one event loop."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from benchmarks.guest_console import BOOT_SECONDS, PROMPT
from ringfence import VM, aio
from ringfence.errors import UserError
from ringfence.image.debian import Guest

SECONDS = 120
#: Neither ends before the other has begun.
MEET = "touch /tmp/{0}; until [ -e /tmp/{1} ]; do sleep 0.05; done; echo {0}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with no machines."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


async def programs(vm: aio.VM) -> None:
    one, two = await asyncio.gather(vm.exec(MEET.format("a", "b")), vm.exec(MEET.format("b", "a")))
    assert (one.stdout, two.stdout) == ("a\n", "b\n")
    done = await vm.exec(["sh", "-c", "cat; echo $X >&2; exit 3"], input=b"\xff", env={"X": "y"}, text=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"\xff", b"y\n")
    with pytest.raises(subprocess.CalledProcessError):
        await vm.exec("exit 1", check=True)


async def copies(vm: aio.VM, folder: Path) -> None:
    data = bytes(range(256)) * 4096
    (folder / "in").write_bytes(data)
    await vm.cp(folder / "in", ":/tmp/in")
    await vm.exec("cp /tmp/in /tmp/out", check=True)
    assert (await vm.cp(":/tmp/out", folder / "out")).data_bytes == len(data)
    assert (folder / "out").read_bytes() == data
    with pytest.raises(UserError):
        await vm.cp("a", "b")


async def life(vm: aio.VM) -> None:
    before = await vm.stats()
    assert before.instructions > 0 and before.guest_memory_bytes == 512 << 20
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(vm.wait(), 0.2)
    with pytest.raises(TimeoutError):
        await vm.wait(0.2)
    await vm.pause()
    assert await vm.state() == "paused"
    still = (await vm.stats()).instructions
    await asyncio.sleep(0.3)
    assert (await vm.stats()).instructions == still
    await vm.resume()
    assert (await vm.inspect()).has_agent


def test_a_life(folder: Path, debian: Guest) -> None:
    async def main() -> None:
        arguments = {"initrd": debian.initrd, "append": "console=ttyS0 quiet", "name": "aio"}
        async with await aio.VM.create(debian.kernel, **arguments) as vm:
            assert [found.name for found in await aio.VM.list()] == ["aio"]
            # the console is waited for while a program runs that waits for the agent
            _, done = await asyncio.gather(vm.expect(PROMPT, BOOT_SECONDS), vm.exec(["uname"]))
            assert done.stdout == "Linux\n"
            await vm.send("echo $((6*7))\n")
            assert await vm.expect(r"\n42\r", SECONDS)
            await programs(vm)
            await copies(vm, folder)
            await life(await aio.VM.find("aio"))
            waiter = asyncio.create_task(vm.wait(SECONDS))
            ended = await vm.stop(SECONDS)
            assert ended == await waiter and (ended.kind, ended.exit_status) == ("power_off", 0)
            assert await vm.state() == "exited"
        assert await vm.state() == "removed"

    asyncio.run(main())
    assert VM.list() == []
