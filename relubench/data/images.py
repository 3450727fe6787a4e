"""Image files to arrays of one shape: what they have in common, and each one decoded to it (Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = frozenset({"1", "L", "LA"})
COLOUR = frozenset({"RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """The common form of a set of images: 1 or 3 channels, (H, W); `cut` if they have to be scaled and cut to it."""

    channels: int
    size: tuple[int, int]
    cut: bool
    note: str


def inspect(files: Sequence[Path], image_size: int | None) -> Kind:
    """The common form of `files`, from their headers; raises DataError naming two files if their sizes differ."""
    grey = colour = 0
    first: tuple[int, int] | None = None
    for file in files:
        with _open(file) as image:
            mode, size = image.mode, (image.height, image.width)
        if mode not in GREY | COLOUR:
            raise DataError(f"{file} is an image of type {mode}", "convert it to 8 bits a channel, grey or RGB")
        grey, colour = grey + (mode in GREY), colour + (mode in COLOUR)
        first = first or size
        if image_size is None and size != first:
            raise DataError(
                f"the images differ in size: {files[0]} has {first[1]}x{first[0]} pixels, {file} {size[1]}x{size[0]}",
                "--set data.image_size=N scales and cuts them all to one square",
            )
    if first is None:
        raise DataError("there is no image to read", "give at least one image for each class")
    notes = [f"{grey} grey images read as RGB beside {colour} in colour"] if grey and colour else []
    if image_size is not None:
        notes.append(f"scaled to {image_size} pixels on the shorter side, centre square")
    return Kind(
        channels=3 if colour else 1,
        size=first if image_size is None else (image_size, image_size),
        cut=image_size is not None,
        note="; ".join(notes),
    )


def decode(file: Path, kind: Kind) -> np.ndarray:
    """The image in `file` as uint8 [C, H, W] of the common form; transparency is dropped; raises DataError."""
    from PIL import Image, ImageOps

    with _open(file) as image:
        try:
            image.load()
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise _unreadable(file, error) from error
        plain = image.convert("L" if kind.channels == 1 else "RGB")
    if kind.cut:
        plain = ImageOps.fit(plain, (kind.size[1], kind.size[0]), method=Image.Resampling.BILINEAR)
    return np.asarray(plain, dtype=np.uint8).reshape(*kind.size, kind.channels).transpose(2, 0, 1)


def _open(file: Path) -> Image:
    # Late: Pillow comes with torchvision, and a prepared copy needs neither.
    from PIL import Image

    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be read as an image: {error}", "remove or replace it")
