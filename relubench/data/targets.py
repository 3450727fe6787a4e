"""A user's targets in arrays: labels, or numbers that are to be predicted. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from relubench.data.labels import number_labels
from relubench.data.notes import Remarks, format_count
from relubench.data.numbers import as_numbers
from relubench.data.split_arrays import Split
from relubench.errors import UsageError

TargetTask = Literal["auto", "classification", "regression"]


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of each part: labels int64 [N] with their classes' names, or numbers float64 [N, K]."""

    y: dict[Split, np.ndarray]
    names: tuple[str, ...]
    are_numbers: bool


def read_targets(path: Path, y: Mapping[Split, np.ndarray], task: TargetTask, remarks: Remarks) -> Targets:
    """The targets of a file: numbers where the user says so, or where some training target has a fraction.

    Raises DataError for targets that are neither, UsageError for text that is to be numbers.
    """
    train = y["train"]
    if task == "regression" and train.dtype.kind not in "biuf":
        hint = "regression needs numbers: leave data.task out"
        raise UsageError(f"data.task regression: {path} has {train.dtype} labels in y_train", hint)
    if task == "classification" or (task == "auto" and not _has_fractions(train)):
        labels = number_labels(path, y, remarks)
        return Targets(labels.y, labels.names, are_numbers=False)
    numbers: dict[Split, np.ndarray] = {split: as_numbers(str(path), f"y_{split}", part) for split, part in y.items()}
    low, high = float(numbers["train"].min()), float(numbers["train"].max())
    count = format_count(numbers["train"].shape[1], "number")
    remarks.note(f"y_train holds {count} an example, from {low:g} to {high:g}, and no classes: regression")
    return Targets(numbers, (), are_numbers=True)


def _has_fractions(y: np.ndarray) -> bool:
    """Whether targets are numbers with fractions; rows that add up to one could be probabilities of classes."""
    if y.dtype.kind != "f" or not y.size:
        return False
    finite = y[np.isfinite(y)]
    if y.ndim == 2 and y.shape[1] > 1 and np.allclose(y.sum(axis=1), 1.0, atol=1e-3) and finite.min() >= 0:
        return False
    return y.ndim <= 2 and bool(np.any(finite % 1))
