"""A user's own arrays: ./file.npz with x_train, y_train, x_test, y_test, and optionally x_valid, y_valid.

How images and labels are read is said in `pixels` and `labels`, other spellings of the arrays' names in `spellings`.
What can be read in one way only is taken and said; what could be read in two is refused, or both readings are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from relubench.data.files import digest
from relubench.data.formats import npz_archive
from relubench.data.labels import number
from relubench.data.notes import Remarks, few
from relubench.data.part_names import key_of
from relubench.data.pixels import as_images, scale_of
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, hold_out, validation_size
from relubench.data.split_arrays import Split, SplitArrays
from relubench.errors import DataError, UsageError
from relubench.system.lookup import near_names

READING = 2
"""Part of every digest: raise it when the same file would give other arrays."""
REQUIRED = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_valid", "y_valid")
RULE = f"validation: one in {VALID_FRACTION} training examples (at most {VALID_AT_MOST:,}), a fixed shuffle by class"
LEAST_TEST = 2
"""Test examples: an error rate of fewer has no interval."""


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the .npz file at `path`; raises DataError if there is none, UsageError for image_size."""
    if options.image_size is not None:
        raise UsageError(f"image_size is for folders of images, and {path} is a file", "leave image_size out")
    if not path.exists() and not path.is_symlink():
        near = near_names(path.name, _names_beside(path))
        meant = f"did you mean {path.parent / near[0]}? " if near else ""
        raise DataError(
            f"there is no file or folder {path}", f"{meant}names of `relubench list datasets` have no / in them"
        )
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path} is neither a .npz file nor a folder", "save arrays with numpy.savez, or name a folder")
    npz_archive.check_regular(path)
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
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


def load(path: Path) -> SplitArrays:
    """The parts of the .npz file at `path`, every array checked; raises DataError naming the array and the rule."""
    remarks = Remarks()
    given = _read(path, remarks)
    splits: tuple[Split, ...] = ("train", "valid", "test") if VALIDATION[0] in given else ("train", "test")
    images: dict[Split, np.ndarray] = {
        split: as_images(path, f"x_{split}", given[f"x_{split}"], remarks) for split in splits
    }
    labels = number(path, {split: given[f"y_{split}"] for split in splits}, remarks)
    _check_together(path, images, labels.y)
    scale = scale_of(images, remarks)
    x, y = images["train"], labels.y["train"]
    if "valid" in images:
        x_valid, y_valid, rule = images["valid"], labels.y["valid"], "validation: the file's own x_valid"
    else:
        if not (n := validation_size(len(y))):
            _refuse(path, f"has only {len(y)} training examples", f"give {VALID_FRACTION} or more, or x_valid, y_valid")
        kept, held = hold_out(y, n)
        x, y, x_valid, y_valid, rule = x[kept], y[kept], x[held], y[held], RULE
    return SplitArrays(
        x_train=x,
        y_train=y,
        x_valid=x_valid,
        y_valid=y_valid,
        x_test=images["test"],
        y_test=labels.y["test"],
        classes=len(labels.names),
        scale=scale,
        note=rule,
        names=labels.names,
        remarks=remarks,
    )


def check_test_size(path: Path, n: int) -> None:
    """Raises DataError for a test part that is too small to have an error rate."""
    if n < LEAST_TEST:
        _refuse(path, f"has {n} test image", f"give at least {LEAST_TEST} test images; hundreds tell networks apart")


def _refuse(path: Path, what: str, hint: str) -> NoReturn:
    raise DataError(f"{path} {what}", hint)


def _names_beside(path: Path) -> list[str]:
    try:
        return sorted(other.name for other in path.parent.iterdir())
    except OSError:
        return []


def _read(path: Path, remarks: Remarks) -> Mapping[str, np.ndarray]:
    """The file's arrays under the names x_train, y_train and so on."""
    with npz_archive.opened(path) as npz:
        names = _named(path, npz.names)
        if others := {key: name for key, name in names.items() if key != name}:
            remarks.note(f"{', '.join(others.values())} read as {', '.join(others)}")
        arrays = npz.read(names.values())
    return {key: arrays[name] for key, name in names.items()}


def _named(path: Path, there: Sequence[str]) -> dict[str, str]:
    """The name in the file of each array that is needed or allowed."""
    spelled: dict[str, list[str]] = {}
    for name in dict.fromkeys(there):
        # An array that is called as it should be is that one, whatever others are called.
        key = name if name in (*REQUIRED, *VALIDATION) else key_of(name)
        if key is not None and not (key in there and key != name):
            spelled.setdefault(key, []).append(name)
    listed = few(sorted(there)) or "nothing"
    for key, names in spelled.items():
        if len(names) > 1:
            _refuse(
                path,
                f"holds {' and '.join(names)}, which both read as {key}",
                f"leave one of them out, or name it {key}",
            )
    missing = [key for key in REQUIRED if key not in spelled]
    if missing:
        _refuse(path, f"lacks {', '.join(missing)}: it holds {listed}", _how_to_save(missing, spelled, there))
    if (VALIDATION[0] in spelled) != (VALIDATION[1] in spelled):
        _refuse(path, f"holds only one of {' and '.join(VALIDATION)}: it holds {listed}", "give both, or neither")
    return {key: spelled[key][0] for key in (*REQUIRED, *VALIDATION) if key in spelled}


def _how_to_save(missing: Iterable[str], spelled: Mapping[str, list[str]], there: Sequence[str]) -> str:
    taken = {name for names in spelled.values() for name in names}
    spare = [name for name in there if name not in taken]
    near = {key: names[0] for key in missing if (names := near_names(key, spare))}
    meant = f"is {', '.join(f'{name} {key}' for key, name in near.items())}? " if near else ""
    return f"{meant}numpy.savez('data.npz', {', '.join(f'{key}={key}' for key in REQUIRED)}) has what it needs"


def _check_together(path: Path, images: Mapping[Split, np.ndarray], labels: Mapping[Split, np.ndarray]) -> None:
    """Lengths, shapes and types that have to agree; raises DataError."""
    train = images["train"]
    for split, x in images.items():
        if len(x) != len(labels[split]):
            what = f"has {len(x)} images in x_{split} and {len(labels[split])} labels in y_{split}"
            _refuse(path, what, "one label for each image")
        if x.shape[1:] != train.shape[1:] or x.dtype != train.dtype:
            both = f"{train.dtype} {train.shape[1:]} in x_train and {x.dtype} {x.shape[1:]} in x_{split}"
            _refuse(path, f"has images {both}", "every split needs images of one shape and type")
    check_test_size(path, len(images["test"]))
