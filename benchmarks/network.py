"""The network that every peer trains, as numbers: layer shapes and Xavier-uniform initial weights."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np

INPUTS, CLASSES = 784, 10

Weights = list[tuple[np.ndarray, np.ndarray]]
"""Of each layer W [O, I] and b [O], float32."""


def xavier(seed: int, hidden: tuple[int, ...]) -> Weights:
    """W ~ U(+-sqrt(6 / (I + O))) (Glorot & Bengio 2010, eq. 16) and b = 0 for 784 - hidden - 10."""
    generator = np.random.default_rng(seed)
    widths = (INPUTS, *hidden, CLASSES)
    found: Weights = []
    for inputs, outputs in pairwise(widths):
        bound = sqrt(6.0 / (inputs + outputs))
        weight = generator.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
        found.append((weight, np.zeros(outputs, np.float32)))
    return found


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """The different sizes of batch in an epoch: the full one, and the last one where it is smaller."""
    return sorted({min(batch_size, images), images % batch_size or batch_size}, reverse=True)
