"""Pictures of a first layer: its filters, and what it makes of images, as tiles of a PNG."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from relubench.system.files import write_file

GAP = 1
"""Pixels between tiles."""

MOST_FILTERS = 100


def filters(weight: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """A sheet [Y, X(, 3)] in 0..1 of the filters with the largest norms, each on a grey scale of its own; 0 is 0.5.

    `weight`: [units, inputs]. Raises ValueError if the inputs are no images.
    """
    strongest = np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")[:MOST_FILTERS]
    strongest_filters = weight[np.sort(strongest)]
    largest = np.maximum(np.abs(strongest_filters).max(axis=1, keepdims=True), 1e-12)
    return sheet(
        0.5 + 0.5 * strongest_filters / largest, input_shape, columns=math.ceil(math.sqrt(len(strongest_filters)))
    )


def reconstructions(x: np.ndarray, reconstructed: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """A sheet of two rows: images [n, inputs], and under each what was made of it, on one grey scale."""
    low, high = float(x.min()), float(x.max())
    scaled = np.clip((np.concatenate([x, reconstructed]) - low) / max(high - low, 1e-12), 0.0, 1.0)
    return sheet(scaled, input_shape, columns=len(x))


def sheet(values: np.ndarray, input_shape: tuple[int, ...], columns: int) -> np.ndarray:
    """Images [n, inputs] in 0..1 as tiles in rows of `columns`: [Y, X], or [Y, X, 3] for three channels.

    Channels that are no colours (stereo pairs) lie side by side. Raises ValueError if the inputs are no images.
    """
    images = as_images(values, input_shape)
    n, height, width = images.shape[:3]
    rows = math.ceil(n / columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *images.shape[3:])
    page = np.ones(shape, dtype=np.float32)
    for place, image in enumerate(images):
        y, x = place // columns * (height + GAP), place % columns * (width + GAP)
        page[y : y + height, x : x + width] = image
    return page


def as_images(values: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """[n, inputs] as [n, Y, X] or [n, Y, X, 3]; a flat row is taken as a square. ValueError if it is none."""
    if len(input_shape) == 3:
        images = values.reshape(len(values), *input_shape)
        if input_shape[0] == 3:
            return images.transpose(0, 2, 3, 1)
        return np.concatenate(list(images.transpose(1, 0, 2, 3)), axis=2)
    side = math.isqrt(math.prod(input_shape))
    if side * side != math.prod(input_shape):
        raise ValueError(f"rows of {math.prod(input_shape)} values are no images")
    return values.reshape(len(values), side, side)


def write_png(page: np.ndarray, path: Path, zoom: int = 2) -> None:
    """Write a sheet, each of its pixels as a square of `zoom`."""
    from matplotlib.image import imsave

    large = page.repeat(zoom, axis=0).repeat(zoom, axis=1)
    buffer = io.BytesIO()
    imsave(buffer, np.clip(large, 0.0, 1.0), cmap="gray", vmin=0.0, vmax=1.0, format="png")
    write_file(path, buffer.getvalue())
