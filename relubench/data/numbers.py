"""Targets that are numbers: checked, and standardised by the training part. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relubench.data.notes import refuse
from relubench.data.split_arrays import Split

TASK = "regression"
"""The name of the task that such targets pose."""


def as_numbers(name: str, key: str, y: np.ndarray) -> np.ndarray:
    """Targets of any numeric type as float64 [N, K]; raises DataError for text, other shapes and infinities."""
    if y.dtype.kind not in "biuf":
        refuse(
            name,
            f"has {y.dtype} targets in {key}",
            "regression needs numbers; text is for --set data.task=classification",
        )
    if y.ndim not in (1, 2) or not y.size:
        refuse(name, f"has {key} of shape {y.shape}", "targets are [N], or [N, K] for K numbers an example")
    numbers = y.astype(np.float64).reshape(len(y), -1)
    is_invalid = ~np.isfinite(numbers).all(axis=1)
    if count := int(is_invalid.sum()):
        hint = f"leave these examples out: keep = numpy.isfinite({key})"
        refuse(name, f"has {count} NaN or infinite targets in {key}, the first at {int(is_invalid.argmax())}", hint)
    return numbers


def standardised(name: str, targets: Mapping[Split, np.ndarray]) -> tuple[dict[Split, np.ndarray], str]:
    """Targets [N, K] of every part less the training mean, over the training part's spread, as float32; and a note.

    Raises DataError where the training part has one value only.
    """
    train = targets["train"]
    if len({part.shape[1] for part in targets.values()}) > 1:
        sizes = " and ".join(f"{part.shape[1]} in y_{split}" for split, part in targets.items())
        refuse(name, f"has {sizes} numbers an example", "every part needs as many")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = train.mean(axis=0), train.std(axis=0)
    if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
        refuse(name, "has targets that are too large to be standardised", "rescale them first")
    if (spread <= 1e-12 * np.abs(mean)).any():
        value = f"{train[0, int(spread.argmin())]:g}"
        refuse(
            name,
            f"has a constant target: it is {value} throughout training",
            "there is nothing to predict: use another",
        )
    scaled: dict[Split, np.ndarray] = {
        split: ((part - mean) / spread).astype(np.float32) for split, part in targets.items()
    }
    if not all(np.isfinite(part).all() for part in scaled.values()):
        refuse(name, "has targets that lie too far from those of training", "look for a fault in them")
    note = f"the target is standardised by the training part (mean {mean[0]:.6g}, standard deviation {spread[0]:.6g})"
    return scaled, note if len(mean) == 1 else f"the {len(mean)} targets are standardised by the training part"
