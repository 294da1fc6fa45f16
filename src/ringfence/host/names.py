"""Names for machines that were given none."""

from __future__ import annotations

import os

_FIRST = (
    "amber", "brave", "brisk", "calm", "clever", "crisp", "eager", "early", "fair", "gentle", "golden",
    "happy", "keen", "kind", "lively", "lucky", "mellow", "merry", "neat", "nimble", "patient", "plain",
    "proud", "quick", "quiet", "ready", "silver", "steady", "sunny", "swift", "warm", "witty",
)  # fmt: skip
_SECOND = (
    "alder", "aspen", "badger", "beech", "birch", "cedar", "crane", "elm", "falcon", "fern", "finch",
    "hare", "hazel", "heron", "ibis", "lark", "linden", "lynx", "maple", "marten", "oak", "otter", "owl",
    "pine", "plover", "robin", "rowan", "spruce", "stoat", "swan", "willow", "wren",
)  # fmt: skip


def make_name() -> str:
    number = int.from_bytes(os.urandom(8), "little")  # `secrets` takes 8 ms to import
    number, first = divmod(number, len(_FIRST))
    number, second = divmod(number, len(_SECOND))
    return f"{_FIRST[first]}-{_SECOND[second]}-{number % 1000:03}"
