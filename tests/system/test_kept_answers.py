"""What is kept in the cache folder is not believed once a byte of it has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from relubench.data.files import digest
from relubench.system.device import probe
from relubench.system.kept_answers import keep_answer, read_answer
from relubench.system.user_code.manifest import Manifest, key_of, store_manifest, stored_manifest


def flip(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("place", [5, 40, -20, -3])
def test_a_changed_byte_is_no_answer(tmp_path: Path, place: int) -> None:
    path = tmp_path / "answer.json"
    keep_answer(path, {"seconds": 1.5, "names": ["a", "b"]})
    assert read_answer(path) == {"seconds": 1.5, "names": ["a", "b"]}
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert read_answer(path) is None


def test_another_answer_under_this_name_is_none(tmp_path: Path) -> None:
    keep_answer(tmp_path / "one.json", {"a": 1})
    (tmp_path / "one.json").rename(tmp_path / "two.json")
    assert read_answer(tmp_path / "two.json") is None
    (tmp_path / "two.json").unlink()
    (tmp_path / "two.json").mkdir()
    assert read_answer(tmp_path / "two.json") is None


def test_the_facts_of_the_machine_are_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path))
    threads = probe().threads
    (path,) = tmp_path.glob("device-*.json")
    flip(path, f'"threads": {threads}'.encode(), f'"threads": {threads + 1}'.encode())
    assert probe().threads == threads


def test_the_digest_of_a_large_source_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "ALWAYS_HASHED_BYTES", 0)
    (tmp_path / "data.bin").write_bytes(b"data")
    files = [("data", tmp_path / "data.bin")]
    right = digest.of_files(files)
    (path,) = (tmp_path / "cache" / "digests").iterdir()
    flip(path, right[:4].encode(), b"0000" if right[:4] != "0000" else b"1111")
    assert digest.of_files(files) == right == digest.of_files(files)


def test_a_changed_manifest_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("relubench.system.user_code.manifest._MANIFESTS", {})
    key = key_of("activation", "mine.py:act", [])
    store_manifest(key, Manifest(files={"mine.py": "00"}, unseen=("a subprocess",)))
    monkeypatch.setattr("relubench.system.user_code.manifest._MANIFESTS", {})
    assert stored_manifest(key) == Manifest(files={"mine.py": "00"}, unseen=("a subprocess",))
    monkeypatch.setattr("relubench.system.user_code.manifest._MANIFESTS", {})
    (path,) = (tmp_path / "own").iterdir()
    flip(path, b"a subprocess", b"no subproces")
    assert stored_manifest(key) is None
