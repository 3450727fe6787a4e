"""Digits: scikit-learn's embedded 8x8 handwritten digits (1,797 of them, pixels 0 to 16)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from relubench.data.files.locate import SourceFiles
from relubench.data.source_row import SourceRow
from relubench.data.split import hold_out
from relubench.data.split_arrays import SplitArrays, named
from relubench.errors import DataError

HIGHEST = 16
"""Each pixel counts the set points of a 4x4 block of the scanned bitmap."""


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 1, 8, 8] in 0..16 (scale 1/16) and y int64 [N], split class by class by the fixed order."""
    del work
    # Late: importing scikit-learn costs a second, and a prepared copy needs none of it.
    from sklearn.datasets import load_digits

    damaged = "its installed copy is damaged: pip install --force-reinstall scikit-learn"
    path = source.files[0][1]
    try:
        pixels, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", damaged) from error
    total = row.n_train + row.n_valid + row.n_test
    if pixels.shape != (total, 64) or labels.shape != (total,):
        raise DataError(f"{path} holds {len(pixels)} digits of {pixels.shape[1]} pixels, not {total} of 64", damaged)
    if pixels.min() < 0 or pixels.max() > HIGHEST or set(np.unique(labels)) != set(range(row.classes)):
        raise DataError(f"{path} holds pixels or labels out of range", damaged)
    x = pixels.astype(np.uint8).reshape(total, *row.input_shape)
    y = labels.astype(np.int64)
    remaining, test = hold_out(y, row.n_test)
    train, valid = (remaining[indices] for indices in hold_out(y[remaining], row.n_valid))
    return SplitArrays(
        **named((x[train], y[train]), (x[valid], y[valid]), (x[test], y[test])),
        classes=row.classes,
        scale=1 / HIGHEST,
        note=row.split,
    )
