"""The cache of translations on disk: what it takes, and what it takes for absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringfence.vmm.translation_cache import FILES, MAGIC, TranslationCache


class FakeVcpu:
    """Has stored translations, and remembers what it is given."""

    def __init__(self, model: str = "x86-64-v2", fresh: int = 100) -> None:
        self.model = model
        self.translation_key = b"key"
        self.given: bytes | None = None
        self.fresh = fresh

    def counters(self) -> dict[str, int]:
        return {"translations": 100, "translations_from_store": 100 - self.fresh}

    def store_translations(self, limit: int) -> bytes:
        return b"code" * 1000

    def use_translations(self, stored: bytes) -> bool:
        self.given = stored
        return True


@pytest.fixture
def cache(tmp_path: Path) -> TranslationCache:
    return TranslationCache(tmp_path / "cache")


def test_gives_back_what_was_kept(cache: TranslationCache) -> None:
    vcpu = FakeVcpu()
    assert not cache.load(vcpu) and vcpu.given is None
    assert cache.save(vcpu)
    assert cache.load(vcpu) and vcpu.given == b"code" * 1000


def test_another_model_has_its_own(cache: TranslationCache) -> None:
    assert cache.save(FakeVcpu())
    assert not cache.load(FakeVcpu("x86-64-v3"))


def test_nobody_else_can_read_or_write_it(cache: TranslationCache) -> None:
    vcpu = FakeVcpu()
    cache.save(vcpu)
    assert cache.path(vcpu).stat().st_mode & 0o777 == 0o600
    assert cache.directory.stat().st_mode & 0o777 == 0o700


def test_little_news_is_not_worth_writing(cache: TranslationCache) -> None:
    assert not cache.save(FakeVcpu(fresh=5))
    assert cache.save(FakeVcpu(fresh=6))


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(MAGIC)


def open_to_others(path: Path) -> None:
    path.chmod(0o622)


def open_the_directory(path: Path) -> None:
    path.parent.chmod(0o777)


def replace_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [
    damage_byte, cut_short, cut_to_nothing, open_to_others, open_the_directory, replace_by_a_link,
    replace_by_a_directory,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_takes_nothing_that_another_could_have_written(cache: TranslationCache, damage: object) -> None:
    vcpu = FakeVcpu()
    cache.save(vcpu)
    assert callable(damage)
    damage(cache.path(vcpu))
    assert not cache.load(vcpu) and vcpu.given is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert not TranslationCache(tmp_path / "file").save(FakeVcpu())


def test_keeps_a_few_files(cache: TranslationCache) -> None:
    for number in range(FILES + 3):
        assert cache.save(FakeVcpu(f"model{number}"))
    assert len(list(cache.directory.iterdir())) == FILES
