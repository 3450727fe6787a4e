"""The fixed order from which every split and every subset is taken. Torch-free."""

from __future__ import annotations

import numpy as np

SPLIT_SEED = 20110411
"""Never changed: AISTATS 2011 opened on that day."""


def stratified_order(y: np.ndarray) -> np.ndarray:
    """A fixed shuffled order of [N] labels in which every beginning holds the classes in proportion: int64 [N].

    Targets that are numbers [N] or [N, K] have no classes: their order is the shuffle alone.

    Each class is shuffled, and its k-th of n examples is sorted in at (k + 1/2) / n. The generator is numpy's legacy
    one: its stream is frozen, so a split stays the same across numpy versions.
    """
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(y))
    if np.issubdtype(y.dtype, np.floating):
        return shuffled
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    _, starts, counts = np.unique(y[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(y)) - np.repeat(starts, counts)
    return by_class[np.argsort((rank + 0.5) / np.repeat(counts, counts), kind="stable")]
