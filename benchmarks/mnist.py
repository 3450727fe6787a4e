"""MNIST from its original files, as every peer gets it: the first 50,000 images train, the last 10,000 validate."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_TRAIN = 50_000
DATA_DIR_VARIABLE = "RELUBENCH_DATA_DIR"
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, slots=True)
class Mnist:
    """x float32 [N, 784] in [0, 1] and y int64 [N], of both splits."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray


def find_raw(data_dir: str | None) -> Path:
    """The folder with MNIST's files (.gz or not) in or below `data_dir`, or RELUBENCH_DATA_DIR; raises SystemExit."""
    named = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not named:
        raise SystemExit(f"error: where is MNIST?\nhint: --data-dir DIR or {DATA_DIR_VARIABLE}")
    root = Path(named).expanduser()
    for folder in (root / "MNIST" / "raw", root / "mnist", root):
        if all((folder / name).exists() or (folder / f"{name}.gz").exists() for name in FILES):
            return folder
    raise SystemExit(f"error: {root} does not hold MNIST\nhint: its four files belong into {root / 'MNIST' / 'raw'}")


def load(data_dir: str | None, images: int) -> Mnist:
    """Both splits in memory, the first `images` to train on."""
    raw = find_raw(data_dir)
    x = _read_idx(raw, FILES[0])
    y = _read_idx(raw, FILES[1]).astype(np.int64)
    flat = x.reshape(len(x), -1)
    return Mnist(_unit(flat[:images]), y[:images], _unit(flat[N_TRAIN:]), y[N_TRAIN:])


def unpack_for_torchvision(data_dir: str | None, root: Path) -> None:
    """Lay MNIST's files out under `root` as torchvision wants them: uncompressed, in MNIST/raw."""
    raw, target = find_raw(data_dir), root / "MNIST" / "raw"
    target.mkdir(parents=True)
    for name in FILES:
        with _open(raw, name) as source, (target / name).open("wb") as out:
            shutil.copyfileobj(source, out)


def _unit(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / np.float32(255)


def _open(raw: Path, name: str):
    plain = raw / name
    return plain.open("rb") if plain.exists() else gzip.open(raw / f"{name}.gz", "rb")


def _read_idx(raw: Path, name: str) -> np.ndarray:
    """The array of an IDX file of unsigned bytes: a magic number that ends in the rank, the sizes, the values."""
    with _open(raw, name) as source:
        content = source.read()
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)
