"""Images reduced by area averaging: a new pixel is the mean of the old ones under it, each weighted by its share."""

from __future__ import annotations

import math

import numpy as np


def area_weights(size: int, target_size: int) -> np.ndarray:
    """float32 [new, old]: the length that old pixel j shares with new pixel i, a whole number of the smallest shares.

    Every row sums to old / gcd(old, new): 27 for 108 -> 32 (shares of an eighth of a pixel), 3 for 96 -> 32.
    """
    unit = math.gcd(size, target_size)
    width, share = size // unit, target_size // unit
    """In units of 1 / share old pixels: what a new pixel covers, and what an old pixel is wide."""
    target_start, start = np.arange(target_size)[:, None] * width, np.arange(size)[None, :] * share
    overlap = np.minimum(target_start + width, start + share) - np.maximum(target_start, start)
    return np.maximum(overlap, 0).astype(np.float32)


def area_average(x: np.ndarray, size: int) -> np.ndarray:
    """uint8 [..., H, W] -> uint8 [..., size, size], each mean rounded to the nearest integer (a half upwards).

    Exact, and the same on every machine: the weights are whole numbers and the weighted sums stay below 2**24, where
    float32 is exact in whatever order a product adds.
    """
    rows, columns = area_weights(x.shape[-2], size), area_weights(x.shape[-1], size)
    total = int(rows[0].sum()) * int(columns[0].sum())
    assert 255 * total < 2**24, f"{x.shape[-2:]} -> {size}: the weighted sums would not be exact in float32"
    sums = rows @ (x.astype(np.float32) @ columns.T)
    return ((2 * sums.astype(np.int32) + total) // (2 * total)).astype(np.uint8)
