"""Pictures of a first layer: its filters, and what it makes of images, as tiles of a PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relubench.reports.plots.image_sheet import font
from relubench.system.files import write_file

GAP = 1
"""Pixels between tiles."""

MOST_FILTERS = 100
PROJECTED = 1200
"""Pixels that a sheet is about as wide as: a projector shows it without enlarging."""
MARGIN, LINE, FONT_SIZE = 24, 34, 24
"""Pixels around a sheet, of a line of its text, and of its letters."""


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


def write_png(page: np.ndarray, path: Path, lines: Sequence[str] = ()) -> None:
    """Write a sheet at a size for a projector, with the lines of text above it: what it shows, and of which network."""
    # Late: Pillow comes with matplotlib.
    from PIL import Image, ImageDraw

    zoom = max(2, round(PROJECTED / page.shape[1]))
    pixels = np.rint(255 * np.clip(page, 0.0, 1.0)).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
    picture = Image.fromarray(pixels).convert("RGB")
    letters = font(FONT_SIZE)
    top = MARGIN + len(lines) * LINE + (MARGIN if lines else 0)
    width = max([picture.width, *(int(letters.getlength(line)) for line in lines)])
    canvas = Image.new("RGB", (width + 2 * MARGIN, top + picture.height + MARGIN), "white")
    pen = ImageDraw.Draw(canvas)
    for place, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + place * LINE), line, fill="black", font=letters)
    canvas.paste(picture, (MARGIN, top))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=True)
    write_file(path, buffer.getvalue())
