"""MNIST, Fashion-MNIST and KMNIST, through torchvision's own classes, from the original .gz files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from relubench.data.files.checksums import check_md5
from relubench.data.files.locate import SourceFiles
from relubench.data.files.torchvision_import import torchvision_datasets
from relubench.data.formats.idx import unpack
from relubench.data.source_row import SourceRow
from relubench.data.split import last_of_train
from relubench.data.split_arrays import SplitArrays

UNCOMPRESSED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Of MNIST's four files, computed from originals whose md5 is the published one (torchvision has only the .gz's)."""
UNVERIFIED = "uncompressed files without a published checksum: only their sizes were checked"


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 1, 28, 28] and y int64 [N]; every file that is used is verified first (DataError)."""
    cls = getattr(torchvision_datasets(), row.torchvision)
    published = {Path(name).name: md5 for name, md5 in cls.resources}
    raw = work / cls.__name__ / "raw"
    raw.mkdir(parents=True)
    verified = True
    for (label, path), shape in zip(source.files, idx_shapes(row), strict=True):
        plain = label.removesuffix(".gz")
        if path.suffix == ".gz":
            check_md5(path, published[label], row.url)
        unpack(path, raw / plain, shape, row.url)
        if path.suffix != ".gz":
            if row.name == "mnist":
                check_md5(path, UNCOMPRESSED_MD5[plain], row.url)
            else:
                verified = False
    return from_torchvision(row, cls(work, train=True), cls(work, train=False), "" if verified else UNVERIFIED)


def idx_shapes(row: SourceRow) -> tuple[tuple[int, ...], ...]:
    """The shapes of the four IDX files: training images and labels, test images and labels."""
    n, n_test, size = row.n_train + row.n_valid, row.n_test, row.input_shape[1:]
    return (n, *size), (n,), (n_test, *size), (n_test,)


def from_torchvision(
    row: SourceRow, train: Any, test: Any, note: str, *, lowest: int = 0, turn: bool = False
) -> SplitArrays:
    """The parts of two torchvision MNIST-like data sets; `lowest` is their first label, `turn` swaps rows, columns."""

    def labelled(source: Any) -> tuple[np.ndarray, np.ndarray]:
        x = source.data.numpy()[:, None]
        return x.swapaxes(2, 3) if turn else x, source.targets.numpy().astype(np.int64) - lowest

    return last_of_train(row, labelled(train), labelled(test), note)


def download(row: SourceRow, folder: Path) -> None:
    """Downloads the four .gz files into `folder`, trying torchvision's mirrors and checking its md5s."""
    cls = getattr(torchvision_datasets(), row.torchvision)
    raw = folder / cls.__name__ / "raw"
    for plain in (Path(name).stem for name, _ in cls.resources):
        # torchvision takes an uncompressed file for proof of a finished download: an interrupted one may be cut short.
        (raw / plain).unlink(missing_ok=True)
    cls(folder, train=True, download=True)
