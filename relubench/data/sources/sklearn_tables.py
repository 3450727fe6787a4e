"""The tables that scikit-learn has: breast-cancer, wine and diabetes are embedded, california is downloaded."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.data.files.locate import SourceFiles
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import SplitArrays
from relubench.data.tables.column import TableColumn
from relubench.data.tables.parts import split_table
from relubench.errors import DataError

if TYPE_CHECKING:
    from sklearn.utils import Bunch

DAMAGED = "its installed copy is damaged: pip install --force-reinstall scikit-learn"
TARGET = "target"

_IN_ARCHIVE = "CaliforniaHousing/cal_housing.data"
_CALIFORNIA = ("longitude", "latitude", "age", "rooms", "bedrooms", "population", "households", "income", "value")
"""The columns of the file; a row is a block of houses."""


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """The parts of an embedded table: x float32 [N, F] standardised by the training part."""
    del work
    path = source.files[0][1]
    try:
        table = _loader(row.name)()
        x, y = np.asarray(table["data"], dtype=np.float64), np.asarray(table["target"])
    except (OSError, EOFError, ValueError, zlib.error, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}", DAMAGED) from error
    labels = table.get("target_names")
    target = TableColumn(TARGET, numbers=y) if labels is None else TableColumn(TARGET, texts=np.asarray(labels)[y])
    return _parts(row, path, table["feature_names"], x, target)


def _loader(name: str) -> Callable[[], Bunch]:
    # Late: importing scikit-learn costs a second, and a prepared copy needs none of it.
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

    return {"breast-cancer": load_breast_cancer, "wine": load_wine, "diabetes": lambda: load_diabetes(scaled=False)}[
        name
    ]


def load_california(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """The parts of the houses of California, with the inputs that scikit-learn makes of them (Pace & Barry 1997)."""
    del work
    path = source.files[0][1]
    try:
        with tarfile.open(path, "r:gz") as archive:
            file = archive.extractfile(_IN_ARCHIVE)
            assert file is not None
            values = np.loadtxt(file, delimiter=",", dtype=np.float64)
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError, zlib.error, AssertionError) as error:
        raise DataError(f"{path} cannot be read: {error}", f"get it again from {row.url}") from error
    if values.ndim != 2 or values.shape[1] != len(_CALIFORNIA):
        raise DataError(f"{path} holds rows of {values.shape[-1]} values, not 9", f"get it again from {row.url}")
    by_name = dict(zip(_CALIFORNIA, values.T, strict=True))
    households = by_name["households"]
    inputs = {
        **{name: by_name[name] for name in ("income", "age", "population", "latitude", "longitude")},
        "rooms a household": by_name["rooms"] / households,
        "bedrooms a household": by_name["bedrooms"] / households,
        "people a household": by_name["population"] / households,
    }
    x = np.stack([*inputs.values()], axis=1)
    return _parts(row, path, [*inputs], x, TableColumn(TARGET, numbers=by_name["value"] / 100_000))


def _parts(row: SourceRow, path: Path, names: Sequence[str], x: np.ndarray, target: TableColumn) -> SplitArrays:
    total = row.n_train + row.n_valid + row.n_test
    if x.shape != (total, *row.input_shape) or not np.isfinite(x).all():
        raise DataError(
            f"{path} holds {len(x)} rows of {x.shape[1]} numbers, not {total} of {row.input_shape[0]}", DAMAGED
        )
    columns = [TableColumn(str(name), numbers=values) for name, values in zip(names, x.T, strict=True)]
    task = "classification" if row.task == "classification" else "regression"
    parts = split_table(row.name, [*columns, target], TARGET, task=task)
    # What is a class and what a number is the table's to say, and needs no remark.
    parts.remarks.notes.clear()
    return parts
