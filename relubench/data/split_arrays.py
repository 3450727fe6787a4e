"""The arrays of a data set by split, as a source's loader returns them. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from relubench.data.notes import Remarks

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

Labelled = tuple[np.ndarray, np.ndarray]
"""Examples x and their targets y."""


def named(train: Labelled, valid: Labelled, test: Labelled) -> dict[str, Any]:
    """The six arrays of the parts by their names in SplitArrays."""
    parts = zip(SPLITS, (train, valid, test), strict=True)
    return {f"{letter}_{split}": array for split, part in parts for letter, array in zip("xy", part, strict=True)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitArrays:
    """The arrays that a loader returns: x uint8 or float32 [N, C, H, W] or [N, F]; y int64 [N] in 0..classes-1.

    Where the targets are numbers, y is float32 [N, K], and `classes` is K.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    scale: float
    shift: float = 0.0
    note: str
    """The split rule, and what else a reader of the results has to know."""
    names: tuple[str, ...] = ()
    """The user's names of the classes 0, 1, ..., or of the K numbers; empty where they have none."""
    remarks: Remarks = field(default_factory=Remarks)
    """Remarks for the user about how their own data were read."""
    task: str = ""
    """The name of the task that the targets pose, where the contents decide; empty: as the request has it."""
    noun: str = "image"
    """What an example is called: an image, a row of a table, a pixel."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The six arrays by the name of the file each is kept in, without its .npy."""
        return {f"{letter}_{split}": getattr(self, f"{letter}_{split}") for split in SPLITS for letter in "xy"}
