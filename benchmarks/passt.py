"""passt(1), the user-mode network of others that a NIC can be plugged into."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60


@contextmanager
def started_passt(forwards: Sequence[str]) -> Iterator[Path]:
    """The socket of a passt of ours. ``forwards`` are ports of 127.0.0.1 that lead to a guest's: HOST:GUEST.

    As root it runs as nobody, who has to get at the place.

    Raises:
        RuntimeError: it does not start; the text has what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        path = Path(name) / "passt"
        words = [word for forward in forwards for word in ("-t", f"127.0.0.1/{forward}")]
        with (Path(name) / "log").open("w+") as log:
            process = subprocess.Popen(["passt", "-f", "-s", path, *words], stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + START_SECONDS
                while not path.exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise RuntimeError(f"passt did not start: {log.read()}")
                    time.sleep(0.05)
                yield path
            finally:
                process.kill()
                process.wait()
