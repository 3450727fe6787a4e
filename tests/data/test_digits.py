from __future__ import annotations

import numpy as np
import pytest

from relubench.data import arrays, prepare
from relubench.data.files.locate import SourceFiles, roots_of, search
from relubench.data.sources import digits
from relubench.data.table import TABLE
from relubench.errors import DataError


def test_all_digits_are_there_once_split_class_by_class():
    from sklearn.datasets import load_digits

    prepared = prepare("digits")
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (1077, 360, 360)
    assert prepared.input_shape == (1, 8, 8) and prepared.classes == 10 and prepared.scale * 16 == 1
    splits = [arrays(prepared, split) for split in ("train", "valid", "test")]
    rows = np.concatenate([np.c_[x.reshape(len(x), -1), y] for x, y in splits])
    pixels, wanted = load_digits(return_X_y=True)
    assert sorted(map(tuple, rows)) == sorted(map(tuple, np.c_[pixels, wanted].astype(np.int64)))
    for x, y in splits:
        assert x.dtype == np.uint8 and y.dtype == np.int64 and x.max() == 16
        assert np.ptp(np.bincount(y)) <= 0.06 * len(y)


def found():
    place = search(TABLE["digits"], roots_of(TABLE["digits"], None)).source
    assert isinstance(place, SourceFiles)
    return place


def test_a_cut_installed_copy_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda **_: (np.zeros((3, 64)), np.zeros(3)))
    with pytest.raises(DataError, match=r"digits.csv.gz holds 3 digits of 64 pixels, not 1797 of 64"):
        digits.load(TABLE["digits"], found(), tmp_path)


def test_wrong_values_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda **_: (np.full((1797, 64), 17.0), np.zeros(1797)))
    with pytest.raises(DataError, match="pixels or labels out of range"):
        digits.load(TABLE["digits"], found(), tmp_path)


def test_an_unreadable_installed_copy_is_refused(monkeypatch, tmp_path):
    def cut(**_):
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr("sklearn.datasets.load_digits", cut)
    with pytest.raises(DataError, match=r"digits.csv.gz cannot be read: Compressed file ended") as caught:
        digits.load(TABLE["digits"], found(), tmp_path)
    assert "pip install" in caught.value.hint
