"""A user's own images: ./folder/ with train/CLASS/*.png and test/CLASS/*.png, or just CLASS/*.png.

All images have one size, or `image_size` gives one. If every image is grey there is one channel, else there are three.
How the folder's parts may be spelled is said in `spellings`, how files are read in `images`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from relubench.data.files import digest
from relubench.data.formats.image_files import Kind, decode, inspect
from relubench.data.notes import Remarks, printable
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.sources.folder_layout import Layout, look_at
from relubench.data.sources.npz import READING, check_test_size
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, Labelled, hold_out, validation_size
from relubench.data.split_arrays import SplitArrays
from relubench.errors import DataError

HELD = f"one in {VALID_FRACTION} (at most {VALID_AT_MOST:,}), a fixed shuffle by class"


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the images under `path`; raises DataError if they are not laid out as a set of images is."""
    remarks = Remarks()
    layout = look_at(path, remarks)
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
        "kind": "images",
        "layout": sorted(layout.parts),
        "split": HELD,
        "image_size": options.image_size,
        "train_size": options.train_size,
        "source": digest.of_files([(file.relative_to(path).as_posix(), file) for file in layout.files]),
    }
    return Request(
        name=name,
        slug=slug(path.resolve().name),
        digest=digest.of_value(identity),
        origin=f"the user's own images in {path}",
        load=lambda work: load(path, layout, options.image_size),
        remarks=remarks,
    )


def load(path: Path, layout: Layout, image_size: int | None) -> SplitArrays:
    """The parts of the images of `layout`: x uint8 [N, 1 or 3, H, W], y int64 [N] in the order of the class names."""
    remarks = Remarks()
    kind = inspect(layout.files, image_size, remarks)
    splits = {part: _decode(classes, kind, layout.classes) for part, classes in layout.parts.items()}
    rules = _split_up(path, splits)
    (x, y), (x_valid, y_valid), (x_test, y_test) = (splits[split] for split in ("train", "valid", "test"))
    check_test_size(path, len(y_test))
    return SplitArrays(
        x_train=x,
        y_train=y,
        x_valid=x_valid,
        y_valid=y_valid,
        x_test=x_test,
        y_test=y_test,
        classes=len(layout.classes),
        scale=1 / 255,
        note="; ".join([*rules, *remarks.notes, *remarks.warnings]),
        names=tuple(printable(name) for name in layout.classes),
        remarks=remarks,
    )


def _split_up(path: Path, splits: dict[str, Labelled]) -> list[str]:
    """Adds to `splits` what the folder does not give; says what was done."""
    rules: list[str] = []
    if "all" in splits:
        splits["train"], splits["test"] = _hold_out(path, splits["all"], len(splits["all"][1]))
        rules.append(f"no train/ and test/: {HELD} for the test set")
    if "valid" in splits:
        rules.append("validation: the folder's own")
    else:
        whole = len(splits.get("all", splits["train"])[1])
        splits["train"], splits["valid"] = _hold_out(path, splits["train"], whole)
        rules.append(f"validation: {HELD}, of the training images")
    return rules


def _hold_out(path: Path, labelled: Labelled, whole: int) -> tuple[Labelled, Labelled]:
    x, y = labelled
    n = validation_size(whole)
    if not n:
        raise DataError(f"{path} has only {whole} images to split", f"give {VALID_FRACTION} or more")
    kept, held = hold_out(y, n)
    return (x[kept], y[kept]), (x[held], y[held])


def _decode(classes: Mapping[str, Sequence[Path]], kind: Kind, names: Sequence[str]) -> Labelled:
    """The images of one part, class after class, numbered as in `names`."""
    counts = {name: len(files) for name, files in classes.items()}
    x = np.empty((sum(counts.values()), kind.channels, *kind.size), np.uint8)
    files = [file for inside in classes.values() for file in inside]
    for place, file in enumerate(files):
        x[place] = decode(file, kind)
    y = np.repeat([names.index(name) for name in counts], [*counts.values()])
    return x, y.astype(np.int64)
