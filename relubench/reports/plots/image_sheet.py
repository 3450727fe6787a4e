"""A sheet of small images with captions, as a PNG: samples of a data set, filters, reconstructions. Torch-free."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

READABLE = 64
"""Pixels a side that small images are enlarged to, at least three quarters of it, by a whole factor."""
MARGIN, GAP, SEAM = 12, 8, 2
"""Pixels around the sheet, between tiles, and between the parts of a tile."""
FONT_SIZE = 12
SOFTWARE = "relubench: a sheet of images"
"""What a sheet's file names as the software that wrote it."""
LINE = 17
"""Height of a line of text in pixels."""


def image_sheet(
    images: np.ndarray, columns: int | None = None, *, captions: Sequence[str] = (), title: str = ""
) -> bytes:
    """The PNG of images [N, C, H, W] with values in [0, 1], row by row, each with its caption below.

    One channel is grey, three are colour; any other number is shown as that many grey images side by side (a stereo
    pair, an original and its reconstruction). `columns`: by default such that the sheet is about square. Values outside
    [0, 1] are clipped. Raises UsageError without an image, ValueError for shapes that do not fit.
    """
    if not len(images):
        raise UsageError("a sheet needs at least one image, got 0", "ask for one or more")
    if images.ndim != 4 or (captions and len(captions) != len(images)):
        raise ValueError(f"images are [N, C, H, W] with no or N captions, got {images.shape} and {len(captions)}")
    tiles = _tiles(images)
    if columns is None:
        columns = math.ceil(math.sqrt(len(tiles) * tiles.shape[1] / tiles.shape[2]))
    columns = max(1, min(columns, len(tiles)))
    return _laid_out(tiles, columns, captions, title)


def _tiles(images: np.ndarray) -> np.ndarray:
    """One RGB picture for each image, enlarged, uint8 [N, H, W, 3]."""
    _, channels, height, width = images.shape
    grey = np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
    zoom = max(1, round(READABLE / max(height, width)))
    large = grey.repeat(zoom, axis=2).repeat(zoom, axis=3)
    if channels == 3:
        return large.transpose(0, 2, 3, 1)
    seam = np.full((len(images), large.shape[2], SEAM), 255, np.uint8)
    parts = [part for channel in range(channels) for part in (seam, large[:, channel])][1:]
    return np.concatenate(parts, axis=2)[..., None].repeat(3, axis=3)


def _laid_out(tiles: np.ndarray, columns: int, captions: Sequence[str], title: str) -> bytes:
    # Late: Pillow comes with matplotlib.
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    letters = font()
    count, height, width, _ = tiles.shape
    text = LINE if captions else 0
    top = MARGIN + (LINE + GAP if title else 0)
    rows = math.ceil(count / columns)
    sheet_width = max(columns * (width + GAP) - GAP, math.ceil(letters.getlength(title)) if title else 0)
    sheet = Image.new("RGB", (2 * MARGIN + sheet_width, top + rows * (height + text + GAP) - GAP + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, fill="black", font=letters)
    for place, tile in enumerate(tiles):
        x = MARGIN + place % columns * (width + GAP)
        y = top + place // columns * (height + text + GAP)
        sheet.paste(Image.fromarray(tile), (x, y))
        # White grounds need an edge to be seen on white paper.
        pen.rectangle((x - 1, y - 1, x + width, y + height), outline="#bbbbbb")
        if captions:
            pen.text((x + width // 2, y + height + 2), captions[place], fill="black", font=letters, anchor="ma")
    buffer = io.BytesIO()
    about = PngInfo()
    about.add_text("Software", SOFTWARE)
    sheet.save(buffer, format="PNG", optimize=True, pnginfo=about)
    return buffer.getvalue()


def font(size: int = FONT_SIZE) -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
