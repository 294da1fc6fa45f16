"""A progress bar on stderr for what takes time before a guest starts: downloads, building an image."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressBars:
    """One bar for each thing that is fetched; nothing at all where there is nothing to wait for.

    Where stderr is no terminal, nothing is shown: what it says there is an error.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Show that ``done_bytes`` of ``total_bytes`` (0: unknown) are there."""
        progress = self._progress or self._open()
        if what not in self._tasks:
            self._tasks[what] = progress.add_task(what, total=total_bytes or None)
        progress.update(self._tasks[what], completed=done_bytes, total=total_bytes or None)

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._progress.start()
        return self._progress
