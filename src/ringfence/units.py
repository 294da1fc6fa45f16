"""Units: sizes as people write them, and the constants that go with them."""

from __future__ import annotations

import re

from ringfence.errors import UserError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
PAGE_BYTES = 4096
NS_PER_S = 1_000_000_000

_SUFFIX = {"": 1, "k": KIB, "m": MIB, "g": GIB}


def parse_bytes(text: str) -> int:
    """Bytes from ``512M``, ``2GiB``, ``65536``; K, M, G are powers of 1024.

    Raises:
        UserError: the text is not such a size.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([kKmMgG]?)(?:i?[bB])?\s*", text)
    if not match:
        raise UserError(f"not a size: {text!r} (write 512M, 2G or a number of bytes)")
    return int(match.group(1)) * _SUFFIX[match.group(2).lower()]
