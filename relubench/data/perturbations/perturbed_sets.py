"""Perturbed versions of the grey image sets of the table: NAME+nistp, and nistp-like, which is emnist-byclass's.

Every image becomes 32x32 (`frame`), and image k of a split is image order[k mod n] of the source's same split, put
through the pipeline with the random numbers of number k; `order` is the fixed one of `stratified_order`. The original
draws its source images with replacement.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relubench.data.files.cache import Log
from relubench.data.perturbations.distortions import SIDE
from relubench.data.perturbations.pipeline import Stream, perturb
from relubench.data.prepared import PreparedData, arrays
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import SPLITS, Split, SplitArrays, named
from relubench.data.stratified_order import stratified_order
from relubench.errors import ComputeError

SEED = 20110411
"""Never changed, like the split's: the same name means the same images everywhere."""
BOX = 20
"""Smaller images are enlarged to this side, that of the box that MNIST's digits were fitted into."""
BLOCK = 8192
"""Images between two writes."""


def frame(x: np.ndarray, scale: float) -> np.ndarray:
    """Images [N, 1, H, W] with values 0..1/scale as uint8 [N, 32, 32]: in the middle, black around.

    Images of 20 to 32 pixels keep their size; smaller ones are enlarged to 20x20, linearly between pixel centres.
    """
    height, width = x.shape[2:]
    grey = x[:, 0]
    if max(height, width) < BOX:
        grey = _stretch(height) @ (grey * np.float32(255 * scale)) @ _stretch(width).T
        grey = np.rint(grey).astype(np.uint8)
    height, width = grey.shape[1:]
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    framed = np.zeros((len(grey), SIDE, SIDE), np.uint8)
    framed[:, top : top + height, left : left + width] = grey
    return framed


def _stretch(side: int) -> np.ndarray:
    """[BOX, side]: the weights that enlarge one axis."""
    at = np.clip((np.arange(BOX) + 0.5) * side / BOX - 0.5, 0, side - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)


def load(row: SourceRow, base: PreparedData, train_size: int | None, work: Path, log: Log) -> SplitArrays:
    """The parts of the perturbed set `row` out of the prepared set `base`: x uint8 [N, 1, 32, 32], y int64 [N].

    `train_size` training images, which may be more than the source has: it is gone through again and again, with other
    perturbations. The images are streamed into files in `work`. Raises ComputeError where the disk is too small.
    """
    sizes = {"train": train_size or row.n_train, "valid": row.n_valid, "test": row.n_test}
    _check_room(row.name, sum(sizes.values()), work)
    log(f"perturbing {base.name}: {sizes['train']:,} training, {sizes['valid']:,} validation, {sizes['test']:,} test")
    train, valid, test = (_write_images(base, split, sizes[split], work) for split in SPLITS)
    return SplitArrays(
        **named(train, valid, test), classes=base.classes, scale=1 / 255, note=_note(row, base, sizes["train"])
    )


def originals(base: PreparedData, split: Split, numbers: np.ndarray) -> np.ndarray:
    """The framed source images of the images with these numbers in a perturbed split, uint8 [N, 32, 32]."""
    x, y = arrays(base, split)
    order = stratified_order(y)
    return frame(x[order[numbers % len(order)]], base.scale)


def _write_images(base: PreparedData, split: Split, count: int, work: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = arrays(base, split)
    order = stratified_order(y)
    stream = Stream(split, SEED)
    path = work / f"x_{split}.npy"

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, count, BLOCK):
            source = order[np.arange(start, min(start + BLOCK, count)) % len(order)]
            yield perturb(frame(x[source], base.scale), stream, start)

    # Not through mapped memory: on a full disk that kills the process, where writing raises an error.
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 1, SIDE, SIDE)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks():
            file.write(block.data)
    return np.load(path, mmap_mode="r"), y[order[np.arange(count) % len(order)]]


def _note(row: SourceRow, base: PreparedData, n_train: int) -> str:
    passes = n_train / base.n_train
    repetition = f", each source image {passes:.3g} times on average" if passes > 1 else ""
    return f"{row.split}; {n_train:,} training images{repetition}"


def _check_room(name: str, count: int, work: Path) -> None:
    size, free = count * SIDE * SIDE, shutil.disk_usage(work).free
    if size > free:
        raise ComputeError(
            f"{name} of {count:,} images takes {size / 1e9:.3g} GB, and {work.parent} has {free / 1e9:.3g} GB left",
            "ask for fewer with --set data.train_size=N, or set RELUBENCH_CACHE_DIR to a folder on a larger disk",
        )
