"""Sensitive instructions as host code, at once and patched in: what the verifier passes, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from damage import reasons
from translated_code import translating_rig

from ringfence.api.translations import Translation, Translations
from ringfence.inspection.verifier import verify

#: again: cli; sti; on: pushf; popf; mov eax,ss; dec rcx; jnz again; hlt
SENSITIVE = "fafb9c9d8cd048ffc975f4f4"


@pytest.fixture(scope="module", params=[0, 1], ids=["inline", "patched"])
def sensitive(request: pytest.FixtureRequest) -> list[tuple[Translations, Translation]]:
    rig = translating_rig()
    rig.cpu.patch_after = request.param
    rig.load(bytes.fromhex(SENSITIVE))
    rig.regs.rcx = 5
    rig.go_on()
    found = rig.cpu.translations()
    assert found is not None and any(block.patches for block in found.blocks) == bool(request.param)
    return [(found, block) for block in found.blocks]


def changed(block: Translation, old: str, new: str) -> Translation | None:
    """``old`` is changed in the block or in one of its patches; None where it is not there."""
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    if before in block.host:
        return replace(block, host=block.host.replace(before, after, 1))
    patches = tuple(replace(patch, host=patch.host.replace(before, after, 1)) for patch in block.patches)
    return replace(block, patches=patches) if patches != block.patches else None


def test_sensitive_instructions_pass(sensitive: list[tuple[Translations, Translation]]) -> None:
    assert not list(verify(sensitive[0][0]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fffdffff", "fffcffff"),  # CLI would clear TF
        ("0002000083", "0003000083"),  # STI would set it
        ("0006000044", "0007000044"),  # POPF would change it
    ],
    ids=["cli", "sti", "popf"],
)
def test_of_the_system_flags_only_two_are_changed(
    old: str, new: str, sensitive: list[tuple[Translations, Translation]]
) -> None:
    told = [
        text
        for found, block in sensitive
        if (bad := changed(block, old, new)) is not None
        for text in reasons(found, bad)
    ]
    assert set(told) == {"a system flag is written that the mode depends on"}


def test_a_patch_ends_as_a_block_does(sensitive: list[tuple[Translations, Translation]]) -> None:
    for found, block in sensitive:
        for patch in block.patches:
            others = tuple(other for other in block.patches if other != patch)
            short = replace(block, patches=(*others, replace(patch, host=patch.host[:-5])))
            assert reasons(found, short)
            gone = replace(block, patches=others)
            assert any("which is no way in" in reason for reason in reasons(found, gone))
