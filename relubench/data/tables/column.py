"""A column of a table: numbers or texts, with what is missing. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of N rows; one of `numbers` and `texts` is None."""

    name: str
    numbers: np.ndarray | None = None
    """float64 [N]; NaN where a value is missing."""
    texts: np.ndarray | None = None
    """str [N]; empty where a value is missing."""

    @property
    def missing(self) -> np.ndarray:
        """Which rows have no value, bool [N]."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        assert self.texts is not None
        return self.texts == ""
