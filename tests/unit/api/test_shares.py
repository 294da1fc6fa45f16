"""Shares as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.api.shares import ShareConfig, parse_share
from ringfence.errors import UserError


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("src:/mnt", ShareConfig(Path("src"), "/mnt")),
        ("/a/b:/c/d:ro", ShareConfig(Path("/a/b"), "/c/d", is_read_only=True)),
        ("/a:/c:rw", ShareConfig(Path("/a"), "/c")),
        ("/a:/c:9p", ShareConfig(Path("/a"), "/c", is_9p=True)),
        ("/a:/c:ro,9p", ShareConfig(Path("/a"), "/c", True, True)),
        ("/with:colon:/c", ShareConfig(Path("/with:colon"), "/c")),
        ("/with:/colon:/c:ro", ShareConfig(Path("/with:/colon"), "/c", is_read_only=True)),
    ],
)
def test_a_share(text: str, share: ShareConfig) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["", "/a", ":/a", "/a:b", "/a:/b:x", "/a:/b:ro,rw", "/a:/b c", "/a:/b\n", '/a:/"', "/a:/b:ro:rw"]
)
def test_no_share(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_share(text)
    assert "\n" not in str(caught.value)
