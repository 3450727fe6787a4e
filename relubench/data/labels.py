"""A user's labels in any form, numbered 0 to K-1: the classes of the training part.

Whole numbers of any type, floating-point whole numbers, booleans, text, [N, 1] and one-hot rows are read; a remark
says what was read how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relubench.data.notes import Remarks, format_names, refuse
from relubench.data.split_arrays import Split
from relubench.errors import UsageError

NUMBERED = "numpy.unique({key}, return_inverse=True)[1] numbers classes of any kind"


@dataclass(frozen=True, slots=True)
class Labels:
    """The numbers of each part, int64 [N], and the user's name of each class."""

    y: dict[Split, np.ndarray]
    names: tuple[str, ...]


def number_labels(path: Path, labels: Mapping[Split, np.ndarray], remarks: Remarks) -> Labels:
    """The labels of every part, numbered as the classes in training; raises DataError, and UsageError for one class."""
    flat: dict[Split, np.ndarray] = {split: _flatten(path, f"y_{split}", y, remarks) for split, y in labels.items()}
    train = flat["train"]
    for split, y in flat.items():
        if (y.dtype.kind in "US") != (train.dtype.kind in "US"):
            hint = "labels of one kind in all parts: y.astype(str) makes text of any"
            refuse(path, f"has {train.dtype} labels in y_train and {y.dtype} labels in y_{split}", hint)
    classes = np.unique(train)
    _check_classes(path, train, classes)
    numbers: dict[Split, np.ndarray] = {}
    for split, y in flat.items():
        unknown = ~np.isin(y, classes)
        if count := int(unknown.sum()):
            hint = "leave the others out, or give training examples of them"
            example = f"up to {y.max()}" if y.dtype.kind in "iu" else f"such as {y[unknown][0]!r}"
            fault = f"has {count} labels in y_{split} {example}, never seen in training"
            refuse(path, fault, f"y_train knows only {format_names([*classes])}; {hint}")
        numbers[split] = np.searchsorted(classes, y).astype(np.int64)
    names = tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in classes)
    _add_remarks(names, classes, remarks)
    return Labels(numbers, names)


def _add_remarks(names: tuple[str, ...], classes: np.ndarray, remarks: Remarks) -> None:
    highest = len(classes) - 1
    if classes.dtype.kind in "US":
        numbers = f"the {highest + 1} classes 0 to {highest}"
        remarks.note(f"text labels are {numbers} in the order of the alphabet: {format_names(names)}")
    elif not np.array_equal(classes, np.arange(highest + 1)):
        is_consecutive = classes[-1] - classes[0] == highest
        description = f"run from {names[0]} to {names[-1]}" if is_consecutive else f"are {format_names(names)}"
        remarks.warn(
            f"labels {description}, not 0 to {highest}: they are numbered as the {highest + 1} classes 0 to {highest}"
        )


def _check_classes(path: Path, train: np.ndarray, classes: np.ndarray) -> None:
    if len(classes) == 1:
        raise UsageError(f"a data set needs at least two classes, {path} has one class only", "label two or more")
    if len(classes) == len(train) and len(train) > 2:
        hint = "labels are classes with several examples each; to predict numbers: --set data.task=regression"
        refuse(path, f"has {len(classes)} different labels in y_train for {len(train)} examples", hint)
    if classes.dtype.kind == "i" and classes[0] < 0 and len(classes) > 2:
        negative = train < 0
        index = int(negative.argmax())
        fault = f"has {int(negative.sum())} negative labels in y_train, the first ({train[index]}) at {index}"
        refuse(path, fault, "leave unlabelled examples out: keep = y_train >= 0; x_train[keep], y_train[keep]")


def _flatten(path: Path, key: str, y: np.ndarray, remarks: Remarks) -> np.ndarray:
    """`y` as whole numbers or text [N]."""
    note = remarks.note if key == "y_train" else lambda text: None
    if not y.size:
        refuse(path, f"has an empty {key}", "give at least one example")
    if y.ndim == 2 and y.shape[1] == 1:
        note(f"{key} of shape {y.shape} is read as [N]")
        y = y[:, 0]
    elif y.ndim == 2 and y.dtype.kind in "biuf" and _one_hot(y):
        note(f"{key} of shape {y.shape} holds one-hot rows: the place of the 1 is the class")
        y = y.argmax(axis=1)
    if y.ndim != 1:
        hint = f"labels are [N], one for each image: {key}.argmax(axis=1) for rows of probabilities"
        refuse(path, f"has {key} of shape {y.shape}", hint)
    if y.dtype.kind == "f":
        if not np.all(np.isfinite(y)) or np.any(y % 1) or np.abs(y).max() >= 2**53:
            hint = f"labels are classes; if these are some, {NUMBERED.format(key=key)}"
            refuse(path, f"has {y.dtype} labels in {key} that are no whole numbers", hint)
        note(f"{y.dtype} labels are read as whole numbers")
        y = y.astype(np.int64)
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind not in "iuUS":
        refuse(path, f"has {y.dtype} labels in {key}", f"labels are classes: {NUMBERED.format(key=key)}")
    return y


def _one_hot(y: np.ndarray) -> bool:
    return y.shape[1] > 1 and bool(np.all((y == 0) | (y == 1)) and np.all((y == 1).sum(axis=1) == 1))
