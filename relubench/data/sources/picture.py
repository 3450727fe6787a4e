"""Pictures to fit: the input is a pixel's place, the target its colour.

Every second pixel of every second row trains, as in Tancik et al. 2020 (Fourier features let networks learn high
frequency functions): of the pixels in between a fixed draw of one in four validates, and the others test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relubench.data.files import digest
from relubench.data.files.locate import SourceFiles
from relubench.data.formats import npz_archive
from relubench.data.formats.image_files import decode, inspect
from relubench.data.notes import Remarks
from relubench.data.number_tables import PICTURE_RULE as RULE
from relubench.data.number_tables import PICTURE_SIDE
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.source_row import SourceRow
from relubench.data.sources.npz import check_exists
from relubench.data.split_arrays import SPLITS, Split, SplitArrays, named
from relubench.data.stratified_order import SPLIT_SEED
from relubench.errors import DataError

READING = 1
"""Part of every digest: raise it when the same file would give other arrays."""
TASK = "picture"
SMALLEST = 8
"""Fewer pixels a side are no picture to fit."""
VALID_SHARE = 4
"""One in so many pixels that do not train validates."""
COLOURS = ("red", "green", "blue")


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the user's picture at `path`; raises DataError if there is none."""
    check_exists(path)
    npz_archive.check_regular(path)
    side = options.image_size or PICTURE_SIDE
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
        "kind": "picture",
        "split": RULE,
        "image_size": side,
        "train_size": options.train_size,
        "source": digest.of_files([("picture", path)]),
    }
    return Request(
        name=name,
        slug=slug(path.stem),
        digest=digest.of_value(identity),
        origin=f"the user's own {path}",
        load=lambda work: load_picture(path, side),
        task=TASK,
    )


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """The pixels of a sample image of scikit-learn."""
    del work
    return load_picture(source.files[0][1], row.side)


def load_picture(path: Path, side: int) -> SplitArrays:
    """The pixels of a picture: x float32 [N, 2], (row, column) from -1 to 1; y float32 [N, 1 or 3], from 0 to 1."""
    remarks = Remarks()
    pixels = decode(path, inspect([path], side, remarks))
    if side < SMALLEST:
        raise DataError(f"{path} is scaled to {side} pixels a side", f"data.image_size of {SMALLEST} or more")
    colours = pixels.transpose(1, 2, 0).reshape(side * side, -1).astype(np.float32) / np.float32(255)
    if (colours == colours[0]).all():
        raise DataError(f"{path} is of one colour throughout: there is nothing to fit", "give another picture")
    parts = split_of(side)
    x = places(side)
    return SplitArrays(
        **named(*((x[parts[split]], colours[parts[split]]) for split in SPLITS)),
        classes=colours.shape[1],
        scale=1.0,
        note=RULE,
        names=COLOURS if colours.shape[1] == 3 else ("grey",),
        remarks=remarks,
        task=TASK,
        noun="pixel",
    )


def places(side: int) -> np.ndarray:
    """Where each pixel of a square lies, row by row: float32 [side * side, 2], (row, column) from -1 to 1."""
    line = np.linspace(-1.0, 1.0, side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def split_of(side: int) -> dict[Split, np.ndarray]:
    """The pixels of each part of a square, ascending numbers of its pixels row by row."""
    rows, columns = np.divmod(np.arange(side * side), side)
    trains = (rows % 2 == 0) & (columns % 2 == 0)
    between = np.flatnonzero(~trains)
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(between)
    num_valid = len(between) // VALID_SHARE
    return {
        "train": np.flatnonzero(trains),
        "valid": np.sort(shuffled[:num_valid]),
        "test": np.sort(shuffled[num_valid:]),
    }
