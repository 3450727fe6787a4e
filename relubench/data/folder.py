"""A user's own images: ./folder/ with train/CLASS/*.png and test/CLASS/*.png, or just CLASS/*.png, read by torchvision.

All images have one size, or `image_size` gives one. If every image is grey there is one channel, else there are three.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relubench.data import digest
from relubench.data.images import Kind, decode, inspect
from relubench.data.needs import torchvision_datasets
from relubench.data.prepared import PREPARATION_VERSION, DataOptions, Parts
from relubench.data.request import Request, slug
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, Labelled, hold_out, validation_size
from relubench.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""torchvision's."""
HELD = f"one in {VALID_FRACTION} (at most {VALID_AT_MOST:,}), a fixed shuffle by class"
LAYOUT = "a folder of images holds train/CLASS/*.png and test/CLASS/*.png (and valid/CLASS/*.png), or only CLASS/*.png"

Layout = dict[str, Path]
"""From 'train', 'test' and perhaps 'valid', or from 'all', to the folder that holds the classes' folders."""


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the images under `path`; raises DataError if they are not laid out as LAYOUT says."""
    layout = _layout(path)
    files = [file for file in _images_of(layout)]
    identity = {
        "version": PREPARATION_VERSION,
        "kind": "images",
        "layout": sorted(layout),
        "split": HELD,
        "image_size": options.image_size,
        "train_size": options.train_size,
        "source": digest.of_files([(file.relative_to(path).as_posix(), file) for file in files]),
    }
    return Request(
        name=name,
        slug=slug(path.resolve().name),
        digest=digest.of_value(identity),
        origin=f"the user's own images in {path}",
        load=lambda work: load(path, options.image_size),
    )


def load(path: Path, image_size: int | None) -> Parts:
    """The parts of the images under `path`: x uint8 [N, 1 or 3, H, W], y int64 [N] in the order of the class names."""
    layout = _layout(path)
    kind = inspect([file for file in _images_of(layout)], image_size)
    splits: dict[str, Labelled] = {}
    classes: list[str] = []
    for split, part in layout.items():
        classes, splits[split] = _decode(part, kind, classes)
    notes = _split_up(path, splits)
    (x, y), (x_valid, y_valid), (x_test, y_test) = (splits[split] for split in ("train", "valid", "test"))
    return Parts(
        x_train=x,
        y_train=y,
        x_valid=x_valid,
        y_valid=y_valid,
        x_test=x_test,
        y_test=y_test,
        classes=len(classes),
        scale=1 / 255,
        note="; ".join(filter(None, (*notes, kind.note))),
    )


def _split_up(path: Path, splits: dict[str, Labelled]) -> list[str]:
    """Adds to `splits` what the folder does not give; says what was done."""
    notes: list[str] = []
    if "all" in splits:
        splits["train"], splits["test"] = _hold_out(path, splits["all"], len(splits["all"][1]))
        notes.append(f"no train/ and test/: {HELD} for the test set")
    if "valid" in splits:
        notes.append("validation: the folder's own")
    else:
        whole = len(splits.get("all", splits["train"])[1])
        splits["train"], splits["valid"] = _hold_out(path, splits["train"], whole)
        notes.append(f"validation: {HELD}, of the training images")
    return notes


def _hold_out(path: Path, labelled: Labelled, whole: int) -> tuple[Labelled, Labelled]:
    x, y = labelled
    n = validation_size(whole)
    if not n:
        raise DataError(f"{path} has only {whole} images to split", f"give {VALID_FRACTION} or more")
    kept, held = hold_out(y, n)
    return (x[kept], y[kept]), (x[held], y[held])


def _layout(path: Path) -> Layout:
    names = {one.name for one in _folders_in(path)}
    if not names & {"train", "test"}:
        return {"all": path}
    layout: Layout = {}
    for split, spellings in (("train", ("train",)), ("test", ("test",)), ("valid", ("valid", "val"))):
        there = [one for one in spellings if one in names]
        if len(there) > 1 or (not there and split != "valid"):
            what = f"both {' and '.join(there)}" if there else f"no {split}/"
            raise DataError(f"{path} holds {', '.join(sorted(names))}: {what}", LAYOUT)
        if there:
            layout[split] = path / there[0]
    return layout


def _folders_in(path: Path) -> list[Path]:
    """The folders in `path`, sorted; hidden ones (.git, .ipynb_checkpoints) are nobody's classes."""
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))


def _images_of(layout: Layout) -> list[Path]:
    """Every image of every part; raises DataError for a part without classes, or a class without an image."""
    files: list[Path] = []
    for split, part in layout.items():
        classes = _folders_in(part)
        if len(classes) < (2 if split in ("train", "all") else 1):
            held = ", ".join(one.name for one in classes) or "no folder"
            raise DataError(f"{part} holds {held} where a folder for each of two or more classes is expected", LAYOUT)
        files += _images_in(classes)
    return files


def _images_in(classes: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for folder in classes:
        # os.walk, because torchvision's ImageFolder walks so: links to folders are followed.
        walked = (Path(at) / one for at, _, names in os.walk(folder, followlinks=True) for one in names)
        inside = sorted(one for one in walked if one.suffix.lower() in EXTENSIONS)
        if not inside:
            raise DataError(
                f"{folder} holds no image",
                f"every folder in a set of images is a class: put images there ({', '.join(EXTENSIONS)})",
            )
        files += inside
    return files


def _decode(part: Path, kind: Kind, known: list[str]) -> tuple[list[str], Labelled]:
    """The classes and the images of `part`, numbered as in `known` (the training part's classes, empty for itself)."""
    names = [one.name for one in _folders_in(part)]
    classes = known or names
    if unknown := sorted(set(names) - set(classes)):
        raise DataError(
            f"{part} holds {', '.join(unknown)}, never seen in training", f"the classes are {', '.join(classes)}"
        )
    numbers = {name: classes.index(name) for name in names}

    class Images(torchvision_datasets().ImageFolder):
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            return names, numbers

    images: Any = Images(part, loader=lambda file: decode(Path(file), kind))
    x = np.empty((len(images), kind.channels, *kind.size), np.uint8)
    for place in range(len(images)):
        x[place], _ = images[place]
    return classes, (x, np.asarray(images.targets, dtype=np.int64))
