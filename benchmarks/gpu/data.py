"""The images that every part trains on: MNIST where it is, else images of its shape, drawn; colour images are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.gpu.setting import Setting
from benchmarks.mnist import FILES, Mnist, load

SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32)}
CLASSES = 10
COUNTS = {"grey": (50_000, 10_000), "colour": (10_000, 2000)}
SMALL_COUNTS = {"grey": (400, 200), "colour": (60, 20)}
"""Training images, and those of validation and of the test."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What relubench is told with --dataset, and the same images for the others."""

    name: str
    """The value of --dataset."""
    images: Mnist
    """x float32 [N, F] in [0, 1] and y int64 [N]."""
    shape: tuple[int, ...]
    source: str

    def first(self, count: int, folder: Path) -> Dataset:
        """The same with only the first training images, and a fifth as many to validate and to test, as a file."""
        path = folder / f"first-{count}.npz"
        sizes = {"train": count, "valid": count // 5, "test": count // 5}
        arrays = dict(np.load(self.name))
        first = {name: array[: sizes[name.partition("_")[2]]] for name, array in arrays.items()}
        if not path.exists():
            np.savez(path, **first)
        return replace(self, name=str(path), images=_images(first))


def dataset(kind: str, setting: Setting) -> Dataset:
    """Grey images of MNIST's shape, or colour images of CIFAR's."""
    if kind == "grey" and not setting.small and (folder := _mnist(setting.data_dir)) is not None:
        return Dataset("mnist", load(str(folder), 50_000), SHAPES[kind], "MNIST")
    path = setting.folder / f"{kind}.npz"
    if not path.exists():
        _draw(path, kind, setting.small)
    return Dataset(str(path), _images(np.load(path)), SHAPES[kind], "drawn")


def _images(arrays: Mapping[str, np.ndarray]) -> Mnist:
    """Training and validation images as rows in [0, 1]."""
    x_train, x_valid = (x.reshape(len(x), -1) / np.float32(255) for x in (arrays["x_train"], arrays["x_valid"]))
    return Mnist(x_train, arrays["y_train"], x_valid, arrays["y_valid"])


def _draw(path: Path, kind: str, small: bool) -> None:
    """Noisy copies of one drawn picture for each class, uint8; they can be learned."""
    generator = np.random.default_rng(0)
    train, held_out = (SMALL_COUNTS if small else COUNTS)[kind]
    pictures = generator.integers(0, 256, (CLASSES, *SHAPES[kind]))
    arrays = {}
    for split, count in (("train", train), ("valid", held_out), ("test", held_out)):
        y = np.arange(count) % CLASSES
        noise = generator.integers(0, 256, (count, *SHAPES[kind]))
        arrays[f"x_{split}"] = ((pictures[y] + 3 * noise) // 4).astype(np.uint8)
        arrays[f"y_{split}"] = y.astype(np.int64)
    np.savez(path, **arrays)


def _mnist(data_dir: str | None) -> Path | None:
    """The folder that holds MNIST's files, if there is one."""
    import os

    named = data_dir or os.environ.get("RELUBENCH_DATA_DIR")
    for folder in (Path(named), Path(named) / "MNIST" / "raw", Path(named) / "mnist") if named else ():
        if all((folder / name).exists() or (folder / f"{name}.gz").exists() for name in FILES):
            return folder
    return None
