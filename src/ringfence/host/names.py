"""Names for machines that were given none."""

from __future__ import annotations

import secrets

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
    return f"{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}-{secrets.randbelow(1000):03}"
