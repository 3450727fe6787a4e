from __future__ import annotations

import pytest

from relubench.data.files import digest
from relubench.errors import DataError


@pytest.fixture
def two(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    return [("a", tmp_path / "a"), ("b", tmp_path / "b")]


def test_follows_contents_and_labels_not_places(two, tmp_path):
    before = digest.of_files(two)
    two[0][1].rename(tmp_path / "elsewhere")
    assert digest.of_files([("a", tmp_path / "elsewhere"), two[1]]) == before
    assert digest.of_files([("c", tmp_path / "elsewhere"), two[1]]) != before
    (tmp_path / "elsewhere").write_bytes(b"One")
    assert digest.of_files([("a", tmp_path / "elsewhere"), two[1]]) != before


def test_large_sets_are_remembered_until_a_file_changes(two, monkeypatch):
    small = digest.of_files(two)
    monkeypatch.setattr(digest, "ALWAYS_HASHED_BYTES", 1)
    first = digest.of_files(two)
    assert first == small
    with monkeypatch.context() as patched:
        patched.setattr(digest, "_hash_files", lambda files: pytest.fail("hashed again"))
        assert digest.of_files(two) == first
    two[1][1].write_bytes(b"three")
    assert digest.of_files(two) != first


def test_unremembered_is_only_slower(two, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(digest, "ALWAYS_HASHED_BYTES", 1)
    assert digest.of_files(two) == digest.of_files(two)


def test_a_missing_file_is_named(two):
    two[1][1].unlink()
    with pytest.raises(DataError, match="b cannot be read: No such file"):
        digest.of_files(two)
