"""A user's own arrays: ./file.npz with x_train, y_train, x_test, y_test, and optionally x_valid, y_valid.

Images are uint8 (scaled by 1/255) or float (used as they are), [N, H, W], [N, C, H, W] or flat [N, F]; labels are
integers [N] from 0. Everything that could be read in two ways is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from relubench.data import digest
from relubench.data.prepared import PREPARATION_VERSION, DataOptions, Parts
from relubench.data.request import Request, slug
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, hold_out, validation_size
from relubench.errors import DataError, UsageError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_valid", "y_valid")
RULE = f"validation: one in {VALID_FRACTION} training examples (at most {VALID_AT_MOST:,}), a fixed shuffle by class"
LAYOUTS = "images are [N, H, W], [N, C, H, W] (channels first) or flat [N, F]"
CHANNELS_LAST = (1, 3, 4)
"""A last axis of this length reads as channels."""


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the .npz file at `path`; raises DataError if there is none, UsageError for image_size."""
    if options.image_size is not None:
        raise UsageError(f"image_size is for folders of images, and {path} is a file", "leave image_size out")
    if not path.exists():
        raise DataError(f"there is no file or folder {path}", "check the path; names of the table have no / in them")
    if path.suffix != ".npz":
        raise DataError(f"{path} is neither a .npz file nor a folder", "save arrays with numpy.savez, or name a folder")
    identity = {
        "version": PREPARATION_VERSION,
        "kind": "npz",
        "split": RULE,
        "train_size": options.train_size,
        "source": digest.of_files([("npz", path)]),
    }
    return Request(
        name=name,
        slug=slug(path.stem),
        digest=digest.of_value(identity),
        origin=f"the user's own {path}",
        load=lambda work: load(path),
    )


def load(path: Path) -> Parts:
    """The parts of the .npz file at `path`, every array checked; raises DataError naming the array and the rule."""
    found = _read(path)
    has_valid = VALIDATION[0] in found
    splits = ("train", "valid", "test") if has_valid else ("train", "test")
    images = {split: _images(path, f"x_{split}", found[f"x_{split}"]) for split in splits}
    labels = {split: _labels(path, f"y_{split}", found[f"y_{split}"]) for split in splits}
    classes = int(labels["train"].max()) + 1
    for split in splits:
        _check_together(path, split, images, labels, classes)
    x, y, note = images["train"], labels["train"], _unseen(labels["train"], classes)
    if has_valid:
        x_valid, y_valid = images["valid"], labels["valid"]
        rule = "validation: the file's own x_valid"
    else:
        if not (n := validation_size(len(y))):
            _refuse(path, f"has only {len(y)} training examples", f"give {VALID_FRACTION} or more, or x_valid, y_valid")
        kept, held = hold_out(y, n)
        x, y, x_valid, y_valid, rule = x[kept], y[kept], x[held], y[held], RULE
    return Parts(
        x_train=x,
        y_train=y,
        x_valid=x_valid,
        y_valid=y_valid,
        x_test=images["test"],
        y_test=labels["test"],
        classes=classes,
        scale=1 / 255 if x.dtype == np.uint8 else 1.0,
        note=rule + note,
    )


def _refuse(path: Path, what: str, hint: str) -> NoReturn:
    raise DataError(f"{path} {what}", hint)


def _read(path: Path) -> Mapping[str, np.ndarray]:
    hint = "save it again with numpy.savez, and copy it whole"
    if not path.stat().st_size:
        _refuse(path, "is empty", hint)
    arrays: dict[str, np.ndarray] = {}
    current = ""
    try:
        # A pickle runs whatever code its author put into it: never loaded.
        with np.load(path, allow_pickle=False) as archive:
            _check_keys(path, archive.files)
            for current in (*REQUIRED, *VALIDATION):
                if current in archive.files:
                    arrays[current] = archive[current]
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, AttributeError, TypeError) as error:
        if "pickle" in str(error) and current:
            _refuse(path, f"holds Python objects in {current}", "save plain numbers: numpy.asarray(..., dtype=...)")
        where = f" (at {current})" if current else ""
        # numpy takes whatever is no archive for a pickle, and advises to load that unsafely.
        why = "it is no zip archive" if "pickle" in str(error) else str(error)
        _refuse(path, f"is not a whole .npz file{where}: {why}", hint)
    return arrays


def _check_keys(path: Path, keys: list[str]) -> None:
    there = ", ".join(sorted(keys)) or "nothing"
    missing = [key for key in REQUIRED if key not in keys]
    if missing:
        _refuse(path, f"lacks {', '.join(missing)}: it holds {there}", f"it needs {', '.join(REQUIRED)}")
    if (VALIDATION[0] in keys) != (VALIDATION[1] in keys):
        _refuse(path, f"holds only one of {' and '.join(VALIDATION)}: it holds {there}", "give both, or neither")


def _images(path: Path, key: str, x: Any) -> np.ndarray:
    """`x` as uint8 or float32 [N, C, H, W] or [N, F]; raises DataError."""
    if not x.size:
        _refuse(path, f"has an empty {key}: its shape is {x.shape}", "give at least one example")
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        _refuse(path, f"has {x.dtype} pixels in {key}", "use uint8 (scaled by 1/255) or float32 (used as they are)")
    if x.ndim == 4 and x.shape[3] in CHANNELS_LAST:
        hint = "write channels first, numpy.transpose(x, (0, 3, 1, 2)), or flat [N, F]"
        _refuse(path, f"has {key} of shape {x.shape}, which reads as channels last", hint)
    if x.ndim not in (2, 3, 4):
        _refuse(path, f"has {key} of shape {x.shape}", LAYOUTS)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32, copy=False)
        bad = ~np.isfinite(x)
        if count := int(bad.sum()):
            first = tuple(int(one) for one in np.unravel_index(int(bad.argmax()), x.shape))
            _refuse(path, f"has {count} NaN or infinite values in {key}, the first at {first}", "replace them")
    return x[:, None] if x.ndim == 3 else x


def _labels(path: Path, key: str, y: Any) -> np.ndarray:
    """`y` as int64 [N]; raises DataError."""
    if y.ndim != 1:
        hint = "labels are [N]: use y.ravel() for [N, 1], y.argmax(1) for one-hot rows"
        _refuse(path, f"has {key} of shape {y.shape}", hint)
    if not y.size:
        _refuse(path, f"has an empty {key}", "give at least one example")
    if y.dtype.kind not in "iu":
        _refuse(path, f"has {y.dtype} labels in {key}", "labels are integers from 0: y.astype(numpy.int64)")
    if y.dtype.kind == "i" and (count := int((y < 0).sum())):
        first = int((y < 0).argmax())
        _refuse(path, f"has {count} negative labels in {key}, the first ({y[first]}) at {first}", "labels run from 0")
    return y.astype(np.int64)


def _check_together(
    path: Path, split: str, images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], classes: int
) -> None:
    """Lengths, shapes, types and label ranges that have to agree; raises DataError."""
    x, y, train = images[split], labels[split], images["train"]
    if len(x) != len(y):
        _refuse(path, f"has {len(x)} images in x_{split} and {len(y)} labels in y_{split}", "one label for each image")
    if x.shape[1:] != train.shape[1:] or x.dtype != train.dtype:
        both = f"{train.dtype} {train.shape[1:]} in x_train and {x.dtype} {x.shape[1:]} in x_{split}"
        _refuse(path, f"has images {both}", "every split needs images of one shape and type")
    if split == "train" and classes == 1:
        raise UsageError(f"a data set needs at least two classes, {path} has one class only", "label two or more")
    if split == "train" and not 2 <= classes <= len(y):
        hint = "labels are the classes 0, 1, 2, ...: at least two, each with an example to train on"
        _refuse(path, f"has labels up to {classes - 1} in y_train, with {len(y)} examples", hint)
    if beyond := int((y >= classes).sum()):
        hint = f"y_train knows only the classes 0 to {classes - 1}"
        _refuse(path, f"has {beyond} labels in y_{split} up to {int(y.max())}, never seen in training", hint)


def _unseen(y: np.ndarray, classes: int) -> str:
    unseen = np.setdiff1d(np.arange(classes), y)
    return f"; no training example of the classes {', '.join(map(str, unseen))}" if len(unseen) else ""
