"""What a guest writes to its debug consoles, as lines of the log."""

from __future__ import annotations

from ringfence.log import logger

#: A guest that never ends its line gets it cut here.
LINE_BYTES_MAX = 512


class DebugLog:
    """Gathers bytes to lines; shown with the log level INFO."""

    def __init__(self) -> None:
        self._line = bytearray()

    def write(self, data: bytes) -> None:
        for byte in data:
            if byte == ord("\n") or len(self._line) >= LINE_BYTES_MAX:
                logger.info("guest: %s", self._line.decode("utf-8", "backslashreplace").rstrip("\r"))
                self._line.clear()
            if byte != ord("\n"):
                self._line.append(byte)
