"""NORB (stereo photographs of toys), small and jittered-cluttered, from the original binary matrices.

An image pair becomes uint8 [2, 32, 32] by area averaging, scaled to [-1, 1] in training (Glorot et al. 2011, section
4.1). Images stream from the files into the prepared copy; only labels and poses are ever in memory whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relubench.data.files.locate import Found
from relubench.data.formats.area_average import area_average
from relubench.data.formats.norb_matrix import Matrix, read_header, spoken
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import SplitArrays
from relubench.data.stratified_order import SPLIT_SEED
from relubench.errors import DataError

OBJECTS = 5
"""Classes of toys: animal, human, plane, truck, car. The jittered-cluttered set has a sixth, without any: none."""
INSTANCES = {"training": (4, 6, 7, 8, 9), "testing": (0, 1, 2, 3, 5)}
"""Which of a class's ten toys are in which part."""
VALID_INSTANCE = 9
"""The toy of every class that validates. Nair & Hinton 2010 drew theirs at random, Glorot et al. 2011 name none."""
FACTORS = (("elevation", range(9)), ("azimuth", range(0, 36, 2)), ("lighting", range(6)))
"""The columns of the info file after the instance, and what they may hold."""
BLOCK_PAIRS = 250
"""Image pairs read at once: 6 MB, and 35 MB while they are averaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What the files of one set look like."""

    side: int
    info_columns: int


FORMS = {"norb": Form(side=96, info_columns=4), "norb-jittered-cluttered": Form(side=108, info_columns=10)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Triple:
    """The -dat, -cat and -info file of one part: its images unread, its labels int64 [N], its instances int [N]."""

    images: Matrix
    y: np.ndarray
    instance: np.ndarray


def load(row: SourceRow, found: Found, work: Path) -> SplitArrays:
    """x uint8 [N, 2, 32, 32] mapped from files in `work`, and y int64 [N]; how many there are is what the files say.

    Raises DataError for files whose structure, labels or poses are not those of `row`, or that do not fit together.
    """
    paths = found.files
    groups = [paths[place : place + 3] for place in range(0, len(paths), 3)]
    parts = {part: [_triple(row, part, one) for one in groups if f"-{part}-" in one[0][0]] for part in INSTANCES}
    train, test = parts["training"], parts["testing"]
    y = np.concatenate([one.y for one in train])
    held = _held_out(train, y, np.concatenate([one.instance for one in train]), row)
    x_train, x_valid = _shrunk(train, held, work, ("x_train", "x_valid"), row)
    y_test = np.concatenate([one.y for one in test])
    x_test, _ = _shrunk(test, np.zeros(len(y_test), bool), work, ("x_test", "x_none"), row)
    return SplitArrays(
        x_train=x_train,
        y_train=y[~held],
        x_valid=x_valid,
        y_valid=y[held],
        x_test=x_test,
        y_test=y_test,
        classes=row.classes,
        scale=2 / 255,
        shift=-1.0,
        note=row.split + _size_note(row, len(y), len(y_test)),
    )


def _triple(row: SourceRow, part: str, paths: Sequence[tuple[str, Path]]) -> Triple:
    form = FORMS[row.name]
    images, labels, info = (read_header(path, row.url) for _, path in paths)
    n = images.shape[0]
    _check_form(images, np.dtype(np.uint8), (n, 2, form.side, form.side))
    _check_form(labels, np.dtype("<i4"), (labels.shape[0],))
    _check_form(info, np.dtype("<i4"), (info.shape[0], form.info_columns))
    for other in (labels, info):
        if other.shape[0] != n:
            other.refuse(f"has {other.shape[0]} rows, and {images.path.name} beside it has {n} image pairs")
    y, poses = labels.whole().astype(np.int64), info.whole()
    _check_values(labels, "labels", y, range(row.classes))
    # Where there is no toy the file's instance and pose mean nothing.
    toys = y < OBJECTS
    _check_values(info, f"instances of a {part} toy", poses[toys, 0], INSTANCES[part])
    for column, (name, known) in enumerate(FACTORS, start=1):
        _check_values(info, f"values of the {name}", poses[toys, column], known)
    return Triple(images=images, y=y, instance=poses[:, 0])


def _check_form(matrix: Matrix, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if matrix.dtype != dtype:
        matrix.refuse(f"holds {matrix.dtype} where {dtype} is expected")
    if matrix.shape != shape:
        matrix.refuse(f"has the dimensions {spoken(matrix.shape)} where N x {spoken(shape[1:])} is expected".rstrip())


def _check_values(matrix: Matrix, what: str, values: np.ndarray, known: Sequence[int]) -> None:
    wrong = np.flatnonzero(~np.isin(values, known))
    if len(wrong):
        allowed = f"{known[0]} to {known[-1]}" if known[-1] - known[0] == len(known) - 1 else ", ".join(map(str, known))
        matrix.refuse(f"holds {len(wrong)} {what} that cannot be, the first {values[wrong[0]]}: expected {allowed}")


def _held_out(triples: Sequence[Triple], y: np.ndarray, instance: np.ndarray, row: SourceRow) -> np.ndarray:
    """Which training pairs validate, bool [N]: one toy of every class, and of those without a toy as many as of one.

    The latter are drawn once and for all; numpy's legacy generator gives the same ones in every version.
    """
    held = (instance == VALID_INSTANCE) & (y < OBJECTS)
    counts = np.bincount(y[held], minlength=OBJECTS)[:OBJECTS]
    left = np.bincount(y[~held], minlength=row.classes)
    if not counts.all() or not left.all():
        lacking, what = (counts, "to validate with") if not counts.all() else (left, "to train on")
        toy = f" of toy {VALID_INSTANCE}" if lacking is counts else f" of another toy than {VALID_INSTANCE}"
        where = triples[0].images.path.parent
        raise DataError(
            f"the training files of {row.name} in {where} hold no image of class {int(lacking.argmin())}{toy} {what}",
            f"take images of every class and toy; the originals are at {row.url}",
        )
    empty = np.flatnonzero(y == OBJECTS)
    drawn = np.random.RandomState(SPLIT_SEED).permutation(len(empty))[: min(int(counts.mean()), len(empty) - 1)]
    held[empty[drawn]] = True
    return held


def _shrunk(
    triples: Sequence[Triple], second: np.ndarray, work: Path, names: tuple[str, str], row: SourceRow
) -> tuple[np.ndarray, np.ndarray]:
    """All images of `triples` at the row's size in two mapped files, those marked in `second` [N] in the second."""
    size = row.input_shape[-1]
    counts = (int((~second).sum()), int(second.sum()))
    targets = [_mapped(work / name, count, row) for name, count in zip(names, counts, strict=True)]
    at, filled = 0, [0, 0]
    for triple in triples:
        for block in triple.images.blocks(BLOCK_PAIRS):
            small, chosen = area_average(block, size), second[at : at + len(block)]
            for place, part in enumerate((small[~chosen], small[chosen])):
                targets[place][filled[place] : filled[place] + len(part)] = part
                filled[place] += len(part)
            at += len(block)
    return targets[0], targets[1]


def _mapped(path: Path, count: int, row: SourceRow) -> np.ndarray:
    """uint8 [count, C, H, W] in a new file: written pages belong to the file, not to the process's own memory."""
    if not count:
        return np.empty((0, *row.input_shape), np.uint8)
    return np.memmap(path, np.uint8, "w+", shape=(count, *row.input_shape))


def _size_note(row: SourceRow, n_train: int, n_test: int) -> str:
    whole = row.n_train + row.n_valid
    if (n_train, n_test) == (whole, row.n_test):
        return ""
    return f"; these files hold {n_train} training and {n_test} test pairs, not {whole} and {row.n_test}"
