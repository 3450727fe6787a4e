"""Image files to arrays of one shape: what they have in common, and each one decoded to it (Pillow).

A file's first picture counts, turned as its EXIF orientation says. Transparent pixels are shown over white; where a
single colour is all there is to see, and the shape is in the transparency alone, that is read as grey.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.data.memory import check_room
from relubench.data.notes import Remarks, counted
from relubench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = frozenset({"1", "L", "LA", "La"})
COLOUR = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr"})
TRANSPARENT = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "PPM", "TIFF", "WEBP", "JPEG2000")
"""Pillow's names of what is read, whatever a file is called; others (PostScript) would start other programs."""
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """The common form of a set of images: 1 or 3 channels, (H, W); `cut` if they have to be scaled and cut to it."""

    channels: int
    size: tuple[int, int]
    cut: bool
    alpha: bool
    """Whether the transparency is the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one file holds: (H, W) when turned, and what may be odd about it."""

    grey: bool
    size: tuple[int, int]
    turned: bool
    frames: bool
    """Whether there are more pictures than the first."""
    transparent: bool
    colour: tuple[int, ...] | None
    """The one colour of all that can be seen, of a transparent image; None if there are several, or nothing is seen."""


def inspect(files: Sequence[Path], image_size: int | None, remarks: Remarks) -> Kind:
    """The common form of `files`; raises DataError naming the file that cannot be read, or two whose sizes differ."""
    if not files:
        raise DataError("there is no image to read", "give at least one image for each class")
    looks: list[Look] = []
    for file in files:
        looks.append(_look(file))
        (height, width), (first_height, first_width) = looks[-1].size, looks[0].size
        if image_size is None and looks[-1].size != looks[0].size:
            sizes = f"{files[0]} has {first_width}x{first_height} pixels, {file} {width}x{height}"
            raise DataError(
                f"the images differ in size: {sizes}", "--set data.image_size=N scales and cuts them all to one square"
            )
    size = looks[0].size if image_size is None else (image_size, image_size)
    alpha = _is_in_alpha(looks)
    grey = alpha or all(look.grey for look in looks)
    _say(looks, remarks, alpha=alpha, grey=grey)
    if image_size is not None:
        remarks.note(f"scaled to {image_size} pixels on the shorter side, centre square")
    channels = 1 if grey else 3
    check_room(
        f"the {counted(len(files), 'image')} of {size[1]}x{size[0]} pixels", len(files) * channels * size[0] * size[1]
    )
    return Kind(channels=channels, size=size, cut=image_size is not None, alpha=alpha)


def _is_in_alpha(looks: Sequence[Look]) -> bool:
    """Whether all images are transparent and show one and the same colour: then the shape is in the transparency."""
    colours = {look.colour for look in looks}
    return all(look.transparent for look in looks) and len(colours) == 1 and None not in colours


def _say(looks: Sequence[Look], remarks: Remarks, *, alpha: bool, grey: bool) -> None:
    count = Counter(
        name for look in looks for name in ("grey", "turned", "frames", "transparent") if getattr(look, name)
    )
    if alpha:
        (colour, *_) = (look.colour for look in looks)
        shade = "#" + "".join(f"{part:02x}" for part in colour or ())
        remarks.warn(
            f"all images are of one colour ({shade}) with the shape in their transparency: that is read as grey"
        )
    elif count["transparent"]:
        remarks.warn(f"{counted(count['transparent'], 'image')} with transparent pixels: shown over white")
    if count["grey"] and not grey:
        remarks.warn(f"{count['grey']} grey images read as RGB beside {len(looks) - count['grey']} in colour")
    if count["turned"]:
        remarks.warn(f"{counted(count['turned'], 'image')} turned as the EXIF orientation says")
    if count["frames"]:
        remarks.warn(f"{counted(count['frames'], 'file')} with several pictures: only the first of each is read")


def decode(file: Path, kind: Kind) -> np.ndarray:
    """The image in `file` as uint8 [C, H, W] of the common form; raises DataError."""
    from PIL import Image, ImageOps

    with _opened(file) as image:
        turned = _turned(image)
        if kind.alpha:
            plain = turned.convert("RGBA").getchannel("A")
        elif _has_alpha(turned):
            rgba = turned.convert("RGBA")
            plain = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        else:
            plain = turned
        plain = plain.convert("L" if kind.channels == 1 else "RGB")
    if kind.cut:
        plain = ImageOps.fit(plain, (kind.size[1], kind.size[0]), method=Image.Resampling.BILINEAR)
    return np.asarray(plain, dtype=np.uint8).reshape(*kind.size, kind.channels).transpose(2, 0, 1)


def _look(file: Path) -> Look:
    with _opened(file) as image:
        mode, height, width = image.mode, image.height, image.width
        if mode not in GREY | COLOUR:
            hint = "save a copy with 8 bits a channel, grey or RGB, its values scaled to 0 to 255"
            raise DataError(f"{file} is an image of type {mode}", hint)
        orientation = _orientation(image)
        # A camera's MPO has a second picture for another purpose.
        frames = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
        grey, transparent, colour = mode in GREY, False, None
        if mode == "P" or _has_alpha(image):
            rgba = np.asarray(image.convert("RGBA"))
            transparent = bool(rgba[..., 3].min() < 255)
            visible = rgba[rgba[..., 3] > 0][:, :3]
            grey = grey or bool(mode == "P" and (visible == visible[:, :1]).all())
            constant = transparent and len(visible) > 0 and bool((visible == visible[0]).all())
            colour = tuple(int(part) for part in visible[0]) if constant else None
    return Look(
        grey=grey,
        size=(width, height) if orientation >= 5 else (height, width),
        turned=orientation != 1,
        frames=frames,
        transparent=transparent,
        colour=colour,
    )


def _has_alpha(image: Image) -> bool:
    return image.mode in TRANSPARENT or "transparency" in image.info


def _orientation(image: Image) -> int:
    """How the camera was held, 1 to 8; 1 (upright) where the file does not say, or its EXIF data are damaged."""
    # Pillow reads EXIF data with many kinds of exceptions; viewers show such a picture as it is.
    with contextlib.suppress(Exception):
        value = int(image.getexif().get(ORIENTATION, 1))
        return value if 1 <= value <= 8 else 1
    return 1


def _turned(image: Image) -> Image:
    from PIL.Image import Transpose

    turns = (
        Transpose.FLIP_LEFT_RIGHT,
        Transpose.ROTATE_180,
        Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE,
        Transpose.ROTATE_270,
        Transpose.TRANSVERSE,
        Transpose.ROTATE_90,
    )
    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(turns[orientation - 2])


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image]:
    """The image in `file`; whatever reading it raises inside the block becomes a DataError that names the file."""
    # Late: Pillow comes with torchvision, and a prepared copy needs neither.
    from PIL import Image

    Image.init()
    try:
        with warnings.catch_warnings():
            # Of an image so large that it may be meant to fill the memory.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
                yield image
    except (DataError, MemoryError):
        raise
    # Pillow's many decoders raise more kinds than can be listed: all of them mean that the file is not sound.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} cannot be read as an image: {why[:200]}", "remove or replace it") from error
