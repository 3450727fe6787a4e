"""NORB (stereo photographs of toys), small and jittered-cluttered, from the original binary matrices.

An image pair becomes uint8 [2, 32, 32] by area averaging, scaled to [-1, 1] in training (Glorot et al. 2011, section
4.1). Images stream from the files into the prepared copy; only labels and poses are ever in memory whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relubench.data.files.locate import SourceFiles
from relubench.data.formats.area_average import area_average
from relubench.data.formats.norb_matrix import Matrix, format_shape, read_header
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import SplitArrays, named
from relubench.data.stratified_order import SPLIT_SEED
from relubench.errors import DataError

OBJECTS = 5
"""Classes of toys: animal, human, plane, truck, car. The jittered-cluttered set has a sixth, without any: none."""
INSTANCES = {"training": (4, 6, 7, 8, 9), "testing": (0, 1, 2, 3, 5)}
"""The toys of a class's ten that are in each part."""
VALID_INSTANCE = 9
"""The toy of every class that validates. Nair & Hinton 2010 drew theirs at random, Glorot et al. 2011 name none."""
FACTORS = (("elevation", range(9)), ("azimuth", range(0, 36, 2)), ("lighting", range(6)))
"""The columns of the info file after the instance, and their possible values."""
BLOCK_PAIRS = 250
"""Image pairs read at once: 6 MB, and 35 MB while they are averaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The form of the files of one set."""

    side: int
    info_columns: int


FORMS = {"norb": Form(side=96, info_columns=4), "norb-jittered-cluttered": Form(side=108, info_columns=10)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Triple:
    """The -dat, -cat and -info file of one part: its images unread, its labels int64 [N], its instances int [N]."""

    images: Matrix
    y: np.ndarray
    instance: np.ndarray


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 2, 32, 32] mapped from files in `work`, and y int64 [N]; the files give the N.

    Raises DataError for files whose structure, labels or poses are not those of `row`, or that do not fit together.
    """
    paths = source.files
    groups = [paths[place : place + 3] for place in range(0, len(paths), 3)]
    parts = {part: [_triple(row, part, group) for group in groups if f"-{part}-" in group[0][0]] for part in INSTANCES}
    train, test = parts["training"], parts["testing"]
    y = np.concatenate([group.y for group in train])
    is_valid = _validation_mask(train, y, np.concatenate([group.instance for group in train]), row)
    x_train, x_valid = _shrink(train, is_valid, work, ("x_train", "x_valid"), row)
    y_test = np.concatenate([group.y for group in test])
    x_test, _ = _shrink(test, np.zeros(len(y_test), bool), work, ("x_test", "x_none"), row)
    return SplitArrays(
        **named((x_train, y[~is_valid]), (x_valid, y[is_valid]), (x_test, y_test)),
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
    for matrix in (labels, info):
        if matrix.shape[0] != n:
            matrix.refuse(f"has {matrix.shape[0]} rows, and {images.path.name} beside it has {n} image pairs")
    y, poses = labels.to_array().astype(np.int64), info.to_array()
    _check_values(labels, "labels", y, range(row.classes))
    # Where there is no toy the file's instance and pose mean nothing.
    toys = y < OBJECTS
    _check_values(info, f"instances of a {part} toy", poses[toys, 0], INSTANCES[part])
    for column, (name, allowed) in enumerate(FACTORS, start=1):
        _check_values(info, f"values of the {name}", poses[toys, column], allowed)
    return Triple(images=images, y=y, instance=poses[:, 0])


def _check_form(matrix: Matrix, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if matrix.dtype != dtype:
        matrix.refuse(f"holds {matrix.dtype} where {dtype} is expected")
    if matrix.shape != shape:
        matrix.refuse(
            f"has the dimensions {format_shape(matrix.shape)} where N x {format_shape(shape[1:])} is expected".rstrip()
        )


def _check_values(matrix: Matrix, contents: str, values: np.ndarray, allowed: Sequence[int]) -> None:
    places = np.flatnonzero(~np.isin(values, allowed))
    if len(places):
        text = (
            f"{allowed[0]} to {allowed[-1]}"
            if allowed[-1] - allowed[0] == len(allowed) - 1
            else ", ".join(map(str, allowed))
        )
        matrix.refuse(f"holds {len(places)} {contents} that cannot be, the first {values[places[0]]}: expected {text}")


def _validation_mask(triples: Sequence[Triple], y: np.ndarray, instance: np.ndarray, row: SourceRow) -> np.ndarray:
    """The training pairs that validate, bool [N]: one toy of each class, and as many pairs without a toy as of a class.

    The latter are a fixed draw: numpy's legacy generator gives the same ones in every version.
    """
    is_valid = (instance == VALID_INSTANCE) & (y < OBJECTS)
    counts = np.bincount(y[is_valid], minlength=OBJECTS)[:OBJECTS]
    remaining = np.bincount(y[~is_valid], minlength=row.classes)
    if not counts.all() or not remaining.all():
        lacking, purpose = (counts, "to validate with") if not counts.all() else (remaining, "to train on")
        toy = f" of toy {VALID_INSTANCE}" if lacking is counts else f" of another toy than {VALID_INSTANCE}"
        files = f"the training files of {row.name} in {triples[0].images.path.parent}"
        raise DataError(
            f"{files} hold no image of class {int(lacking.argmin())}{toy} {purpose}",
            f"take images of every class and toy; the originals are at {row.url}",
        )
    empty = np.flatnonzero(y == OBJECTS)
    indices = np.random.RandomState(SPLIT_SEED).permutation(len(empty))[: min(int(counts.mean()), len(empty) - 1)]
    is_valid[empty[indices]] = True
    return is_valid


def _shrink(
    triples: Sequence[Triple], second: np.ndarray, work: Path, names: tuple[str, str], row: SourceRow
) -> tuple[np.ndarray, np.ndarray]:
    """All images of `triples` at the row's size in two mapped files, those marked in `second` [N] in the second."""
    size = row.input_shape[-1]
    counts = (int((~second).sum()), int(second.sum()))
    targets = [_mapped_array(work / name, count, row) for name, count in zip(names, counts, strict=True)]
    at, filled = 0, [0, 0]
    for triple in triples:
        for block in triple.images.blocks(BLOCK_PAIRS):
            small, in_second = area_average(block, size), second[at : at + len(block)]
            for number, part in enumerate((small[~in_second], small[in_second])):
                targets[number][filled[number] : filled[number] + len(part)] = part
                filled[number] += len(part)
            at += len(block)
    return targets[0], targets[1]


def _mapped_array(path: Path, count: int, row: SourceRow) -> np.ndarray:
    """uint8 [count, C, H, W] in a new file: its pages do not count as the process's own memory."""
    if not count:
        return np.empty((0, *row.input_shape), np.uint8)
    return np.memmap(path, np.uint8, "w+", shape=(count, *row.input_shape))


def _size_note(row: SourceRow, n_train: int, n_test: int) -> str:
    num_train = row.n_train + row.n_valid
    if (n_train, n_test) == (num_train, row.n_test):
        return ""
    return f"; these files hold {n_train} training and {n_test} test pairs, not {num_train} and {row.n_test}"
