"""A user's own images: ./folder/ with train/CLASS/*.png and test/CLASS/*.png, or just CLASS/*.png.

All images have one size, or `image_size` gives one. If every image is grey there is one channel, else there are three.
`folder_layout` finds the parts and the classes, `image_files` reads the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from relubench.data.files import digest
from relubench.data.formats.image_files import ImageForm, decode, inspect
from relubench.data.notes import Remarks, printable
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.sources.folder_layout import Layout, find_layout
from relubench.data.sources.npz import READING, check_test_size
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, hold_out, validation_size
from relubench.data.split_arrays import Labelled, SplitArrays, named
from relubench.errors import DataError

HOLDOUT_RULE = f"one in {VALID_FRACTION} (at most {VALID_AT_MOST:,}), a fixed shuffle by class"


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the images under `path`; raises DataError if they are not laid out as a set of images is."""
    remarks = Remarks()
    layout = find_layout(path, remarks)
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
        "kind": "images",
        "layout": sorted(layout.parts),
        "split": HOLDOUT_RULE,
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
    rules = _complete_splits(path, splits, remarks)
    check_test_size(path, len(splits["test"][1]))
    return SplitArrays(
        **named(splits["train"], splits["valid"], splits["test"]),
        classes=len(layout.classes),
        scale=1 / 255,
        note="; ".join([*rules, *remarks.notes, *remarks.warnings]),
        names=tuple(printable(name) for name in layout.classes),
        remarks=remarks,
    )


def _complete_splits(path: Path, splits: dict[str, Labelled], remarks: Remarks) -> list[str]:
    """Adds the splits that the folder does not have to `splits`; gives the rules by which they were made."""
    rules: list[str] = []
    if "all" in splits:
        splits["train"], splits["test"] = _hold_out(path, splits["all"], len(splits["all"][1]))
        remarks.note(f"no train/ and test/: {HOLDOUT_RULE} is set aside as the test set")
    if "valid" in splits:
        rules.append("validation: the folder's own")
    else:
        num_images = len(splits.get("all", splits["train"])[1])
        splits["train"], splits["valid"] = _hold_out(path, splits["train"], num_images)
        rules.append(f"validation: {HOLDOUT_RULE}, of the training images")
    return rules


def _hold_out(path: Path, labelled: Labelled, num_images: int) -> tuple[Labelled, Labelled]:
    x, y = labelled
    n = validation_size(num_images)
    if not n:
        raise DataError(f"{path} has only {num_images} images to split", f"give {VALID_FRACTION} or more")
    train, holdout = hold_out(y, n)
    return (x[train], y[train]), (x[holdout], y[holdout])


def _decode(classes: Mapping[str, Sequence[Path]], form: ImageForm, names: Sequence[str]) -> Labelled:
    """The images of one part, class after class, numbered as in `names`."""
    counts = {name: len(files) for name, files in classes.items()}
    x = np.empty((sum(counts.values()), form.channels, *form.size), np.uint8)
    files = [file for class_files in classes.values() for file in class_files]
    for index, file in enumerate(files):
        x[index] = decode(file, form)
    y = np.repeat([names.index(name) for name in counts], [*counts.values()])
    return x, y.astype(np.int64)
