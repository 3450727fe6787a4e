"""A few images of a prepared data set to look at, as values in [0, 1], with their classes. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relubench.data.perturbations.perturbed_sets import originals
from relubench.data.prepared import PreparedData, arrays, training_images
from relubench.data.split_arrays import Split
from relubench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Samples:
    """Images [N, C, H, W] ordered by class, labels [N], and `values`, the range that black to white stand for."""

    images: np.ndarray
    labels: np.ndarray
    values: tuple[float, float]


def draw_samples(prepared: PreparedData, split: Split, count: int, seed: int, base: PreparedData | None) -> Samples:
    """`count` images of a split, drawn at random, about equally many of each class; ordered by class.

    `base`: the set that a perturbed set was made of; then channel 0 is the original, channel 1 the perturbed image.
    Raises UsageError if the split has fewer images, or flat rows.
    """
    if len(prepared.input_shape) != 3:
        raise UsageError(
            f"{prepared.name} has flat rows of {prepared.input_shape[0]} values: there is no picture to show",
            "give the images as [N, H, W] or [N, C, H, W]",
        )
    x, y = arrays(prepared, split)
    if count > len(y):
        raise UsageError(f"--count {count} is more than the {len(y)} {split} images of {prepared.name}", "ask for less")
    indices = _balanced(y, count, np.random.default_rng(seed))
    pixels = x[indices].astype(np.float32) * np.float32(prepared.scale) + np.float32(prepared.shift)
    images, values = _to_unit(pixels)
    if base is not None:
        numbers = training_images(prepared)[1][indices] if split == "train" else indices
        images = np.concatenate([originals(base, split, numbers)[:, None] / np.float32(255), images], axis=1)
    return Samples(images, y[indices], values)


def _balanced(y: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """`count` indices of labels [N]: one of each class, then a second one of each, and so on; by class."""
    shuffled = draw.permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    _, starts, counts = np.unique(y[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(y)) - np.repeat(starts, counts)
    order = np.lexsort((draw.permutation(len(y)), rank))
    return by_class[np.sort(order[:count])]


def _to_unit(x: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Values in [0, 1] stay; others are stretched, all images alike."""
    low, high = float(x.min()), float(x.max())
    if low >= 0 and high <= 1:
        return x, (0.0, 1.0)
    return (x - low) / max(high - low, 1e-12), (low, high)
