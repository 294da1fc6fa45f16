"""The translator makes the code that was reviewed: expected_translations.txt, see translate_expect.py."""

from __future__ import annotations

import difflib

import pytest
from translate_expect import Section, read_sections, translate

SECTIONS = list(read_sections())


def test_there_are_about_forty() -> None:
    assert len(SECTIONS) >= 40 and len({section.name for section in SECTIONS}) == len(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_code_is_as_reviewed(section: Section) -> None:
    made = translate(section)
    if made != section.host:
        pytest.fail("\n".join(difflib.unified_diff(section.host, made, "reviewed", "made", lineterm="")))
