"""`ringfence.VM` for asyncio: the same methods, awaited.

    >>> async with await aio.VM.create(memory="1G") as vm:
    ...     await vm.exec(["uname", "-r"])

Each call has a thread of its own while it lasts: what takes time is the guest's or another process's. None is
of the event loop's executor: those are few, and a program can't end before they do, so that one `wait` would
hold up other calls, and the exit.

A call that is cancelled is no longer waited for; what it asked for happens all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ringfence.api.messages import Details, Ended, Usage
from ringfence.host import vm as blocking
from ringfence.host.copy import Copied
from ringfence.host.vm import GRACE_SECONDS

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")


class VM:
    """A managed machine; see `ringfence.VM`, which `blocking` is."""

    def __init__(self, vm: blocking.VM) -> None:
        self.blocking = vm

    @classmethod
    async def create(cls, kernel: str | os.PathLike[str] | None = None, **options: Any) -> VM:
        return cls(await _on_thread(blocking.VM.create, kernel, **options))

    @classmethod
    async def find(cls, name: str) -> VM:
        return cls(await _on_thread(blocking.VM.find, name))

    @classmethod
    async def list(cls) -> list[VM]:
        return [cls(vm) for vm in await _on_thread(blocking.VM.list)]

    @property
    def name(self) -> str:
        return self.blocking.name

    async def state(self) -> str:
        return await _on_thread(lambda: self.blocking.state)

    async def inspect(self) -> Details:
        return await _on_thread(self.blocking.inspect)

    async def stats(self) -> Usage:
        return await _on_thread(self.blocking.stats)

    async def expect(self, pattern: str, timeout: float | None = 60.0) -> str:
        """Wait until ``pattern`` appears on the console; the text that matched."""
        return (await _on_thread(lambda: self.blocking.console.expect(pattern, timeout))).group()

    async def send(self, text: str | bytes) -> None:
        """Type on the console."""
        await _on_thread(lambda: self.blocking.console.send(text))

    async def pause(self) -> None:
        await _on_thread(self.blocking.pause)

    async def resume(self) -> None:
        await _on_thread(self.blocking.resume)

    async def stop(self, grace: float = GRACE_SECONDS) -> Ended:
        return await _on_thread(self.blocking.stop, grace)

    async def kill(self, signal: int = 9) -> Ended:
        return await _on_thread(self.blocking.kill, signal)

    async def wait(self, timeout: float | None = None) -> Ended:
        return await _on_thread(self.blocking.wait, timeout)

    async def remove(self, force: bool = False) -> None:
        await _on_thread(self.blocking.remove, force)

    async def exec(
        self,
        argv: Sequence[str] | str,
        *,
        input: bytes | str = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        text: bool = True,
        check: bool = False,
    ) -> subprocess.CompletedProcess[Any]:
        return await _on_thread(
            self.blocking.exec, argv, input=input, env=env, cwd=cwd, user=user, text=text, check=check
        )

    async def cp(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Copied:
        return await _on_thread(self.blocking.cp, source, target)

    async def __aenter__(self) -> VM:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _on_thread(self.blocking.__exit__, kind, error, trace)

    def __repr__(self) -> str:
        return f"<aio {self.blocking!r}>"


async def _on_thread(
    work: Callable[Arguments, Found], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Found:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found] = loop.create_future()

    def deliver(put: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if answer.done() else put(value))

    def run() -> None:
        try:
            found = work(*arguments, **options)
        except BaseException as error:
            deliver(answer.set_exception, error)
        else:
            deliver(answer.set_result, found)

    threading.Thread(target=run, name="ringfence.aio", daemon=True).start()
    return await answer
