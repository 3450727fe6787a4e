from __future__ import annotations

import gzip
import hashlib
import zipfile

import numpy as np
import pytest

from relubench.data import arrays, prepare
from relubench.errors import DataError


@pytest.fixture
def letters(shrink, idx_set, tmp_path, monkeypatch):
    """A tiny gzip.zip in the true layout (with other members beside): (arrays, path of the archive)."""
    from torchvision.datasets import EMNIST

    shrink("emnist-letters", n_train=26, n_valid=26, n_test=26)
    wanted, files = idx_set(52, 26, "emnist-letters-train", "emnist-letters-test", classes=26, lowest=1)
    archive = tmp_path / "data" / "EMNIST" / "raw" / "gzip.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("gzip/emnist-letters-mapping.txt", "1 65 97\n")
        for name, data in files.items():
            out.writestr(f"gzip/{name}.gz", gzip.compress(data))
    monkeypatch.setattr(EMNIST, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return wanted, archive


def test_letters_are_upright_and_counted_from_0(letters, tmp_path):
    wanted, _ = letters
    prepared = prepare("emnist-letters", data_dir=tmp_path / "data")
    x, y = arrays(prepared, "test")
    assert np.array_equal(x[:, 0], wanted["emnist-letters-test-images"].swapaxes(1, 2))
    assert y.tolist() == list(range(26)) and prepared.classes == 26
    assert np.array_equal(arrays(prepared, "valid")[0][:, 0].swapaxes(1, 2), wanted["emnist-letters-train-images"][26:])


def test_files_taken_out_of_the_archive_do_too(letters, tmp_path):
    wanted, archive = letters
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(archive.parent)
    archive.unlink()
    prepared = prepare("emnist-letters", data_dir=tmp_path / "data")
    assert np.array_equal(arrays(prepared, "test")[0][:, 0], wanted["emnist-letters-test-images"].swapaxes(1, 2))
    assert "only their sizes were checked" in prepared.source


def test_an_altered_archive_is_named(letters, tmp_path):
    _, archive = letters
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"gzip\.zip is altered: its md5 is"):
        prepare("emnist-letters", data_dir=tmp_path / "data")


def test_an_archive_without_the_split_is_named(letters, tmp_path, shrink):
    shrink("emnist-digits")
    with pytest.raises(DataError, match=r"gzip\.zip is damaged: .*gzip/emnist-digits-train-images"):
        prepare("emnist-digits", data_dir=tmp_path / "data")


def test_the_archive_is_downloaded_and_stays_packed(letters, tmp_path, monkeypatch, serve):
    from torchvision.datasets import EMNIST

    _, archive = letters
    monkeypatch.setattr(EMNIST, "url", serve(archive.parent)[0] + archive.name)
    monkeypatch.setenv("RELUBENCH_OFFLINE", "0")
    assert prepare("emnist-letters").n_train == 26
    assert [one.name for one in (tmp_path / "cache" / "data" / "EMNIST" / "raw").iterdir()] == ["gzip.zip"]
