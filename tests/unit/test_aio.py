"""`ringfence.aio.VM` says what `ringfence.VM` says, and holds up neither the event loop nor the program."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import threading
from typing import Any

import pytest

from ringfence import aio
from ringfence.errors import UserError
from ringfence.host.vm import VM

SECONDS = 60
#: of a machine in this program's hands, and what stands for it here
ELSEWHERE = {
    "console": ("expect", "send"), "record": (), "connect": (), "ask": (), "opened": (), "waiting": (),
}  # fmt: skip


class FakeConsole:
    def __init__(self) -> None:
        self.sent: list[str | bytes] = []

    def send(self, text: str | bytes) -> None:
        self.sent.append(text)

    def expect(self, pattern: str, timeout: float | None) -> re.Match[str]:
        found = re.search(pattern, f"after {timeout} s: hello")
        assert found is not None
        return found


class FakeVM:
    """A machine whose programs wait for one another."""

    name = "fake"
    state = "running"

    def __init__(self, parties: int = 1) -> None:
        self.together = threading.Barrier(parties, timeout=SECONDS)
        self.console = FakeConsole()
        self.is_removed = False

    def exec(self, argv: object, **options: Any) -> object:
        self.together.wait()
        return argv, options

    def remove(self, force: bool) -> None:
        raise UserError("it runs")

    def __exit__(self, *error: object) -> None:
        self.is_removed = True


def fake(parties: int = 1) -> tuple[FakeVM, aio.VM]:
    machine = FakeVM(parties)
    return machine, aio.VM(machine)  # type: ignore[arg-type]


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_nothing_is_missing() -> None:
    stand_ins = {name for names in ELSEWHERE.values() for name in names}
    assert public(aio.VM) == (public(VM) - set(ELSEWHERE)) | stand_ins


@pytest.mark.parametrize("name", sorted(public(aio.VM) & public(VM) - {"name", "state", "list", "create"}))
def test_arguments_are_the_same(name: str) -> None:
    here = inspect.signature(getattr(aio.VM, name)).parameters.values()
    there = inspect.signature(getattr(VM, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in here] == [(p.name, p.kind, p.default) for p in there]


def test_more_calls_at_once_than_an_executor_has_threads() -> None:
    _, vm = fake(parties=100)

    async def main() -> list[Any]:
        return await asyncio.gather(*(vm.exec(str(n), env={"N": str(n)}) for n in range(100)))

    for n, (argv, options) in enumerate(asyncio.run(main())):
        assert argv == str(n) and options["env"] == {"N": str(n)} and options["text"] is True


def test_errors_come_to_who_waits() -> None:
    _, vm = fake()

    async def main() -> None:
        with pytest.raises(UserError, match="it runs"):
            await vm.remove()
        assert await vm.state() == "running"

    asyncio.run(main())


def test_a_console() -> None:
    machine, vm = fake()

    async def main() -> None:
        await vm.send("text")
        assert await vm.expect(r"after [\d.]+ s", timeout=2.5) == "after 2.5 s"

    asyncio.run(main())
    assert machine.console.sent == ["text"]


def test_a_block_removes_its_machine_whatever_happens() -> None:
    machine, vm = fake()

    async def main() -> None:
        async with vm:
            raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(main())
    assert machine.is_removed


def test_a_program_ends_while_a_call_lasts() -> None:
    """One that was cancelled, and one that was forgotten."""
    code = """
import asyncio, threading
from ringfence.aio import VM
class Endless:
    def wait(self, timeout):
        threading.Event().wait()
vm = VM(Endless())
async def main():
    forgotten = asyncio.create_task(vm.wait())
    try:
        await asyncio.wait_for(vm.wait(), 0.1)
    except TimeoutError:
        print("timed out")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "timed out\n", "")
