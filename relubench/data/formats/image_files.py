"""Image files as arrays of one form: the form that fits all of them, and each file decoded to it (Pillow).

A file's first picture counts, turned as its EXIF orientation says. Transparent pixels are shown over white; where all
images have one colour, and the shape is in the transparency alone, the transparency is read as grey.
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
from relubench.data.notes import Remarks, format_count
from relubench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = frozenset({"1", "L", "LA", "La"})
COLOUR = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr"})
TRANSPARENT = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "PPM", "TIFF", "WEBP", "JPEG2000")
"""Pillow's names of the formats that are read, whatever a file's suffix; others (PostScript) start other programs."""
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageForm:
    """The common form of a set of images: 1 or 3 channels, (H, W)."""

    channels: int
    size: tuple[int, int]
    is_cropped: bool
    """Whether the images have to be scaled and cropped to the size."""
    alpha: bool
    """Whether the transparency is the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileProperties:
    """The properties of one file: (H, W) of the upright picture, and what a user may not expect."""

    grey: bool
    size: tuple[int, int]
    rotated: bool
    """Whether the EXIF orientation is not upright."""
    frames: bool
    """Whether there are more pictures than the first."""
    transparent: bool
    colour: tuple[int, ...] | None
    """The colour of all visible pixels of a transparent image; None if there are several colours, or none."""


def inspect(files: Sequence[Path], image_size: int | None, remarks: Remarks) -> ImageForm:
    """The common form of `files`; raises DataError naming the file that cannot be read, or two whose sizes differ."""
    if not files:
        raise DataError("there is no image to read", "give at least one image for each class")
    properties: list[FileProperties] = []
    for file in files:
        properties.append(_inspect_file(file))
        (height, width), (first_height, first_width) = properties[-1].size, properties[0].size
        if image_size is None and properties[-1].size != properties[0].size:
            sizes = f"{files[0]} has {first_width}x{first_height} pixels, {file} {width}x{height}"
            raise DataError(
                f"the images differ in size: {sizes}", "--set data.image_size=N scales and cuts them all to one square"
            )
    size = properties[0].size if image_size is None else (image_size, image_size)
    alpha = _is_in_alpha(properties)
    grey = alpha or all(file.grey for file in properties)
    _add_remarks(properties, remarks, alpha=alpha, grey=grey)
    if image_size is not None:
        remarks.note(f"scaled to {image_size} pixels on the shorter side, centre square")
    channels = 1 if grey else 3
    check_room(
        f"the {format_count(len(files), 'image')} of {size[1]}x{size[0]} pixels",
        len(files) * channels * size[0] * size[1],
    )
    return ImageForm(channels=channels, size=size, is_cropped=image_size is not None, alpha=alpha)


def _is_in_alpha(files: Sequence[FileProperties]) -> bool:
    """Whether all images are transparent and show one and the same colour: then the shape is in the transparency."""
    colours = {file.colour for file in files}
    return all(file.transparent for file in files) and len(colours) == 1 and None not in colours


def _add_remarks(files: Sequence[FileProperties], remarks: Remarks, *, alpha: bool, grey: bool) -> None:
    counts = Counter(
        name for file in files for name in ("grey", "rotated", "frames", "transparent") if getattr(file, name)
    )
    if alpha:
        (colour, *_) = (file.colour for file in files)
        shade = "#" + "".join(f"{part:02x}" for part in colour or ())
        remarks.warn(
            f"all images are of one colour ({shade}) with the shape in their transparency: that is read as grey"
        )
    elif counts["transparent"]:
        remarks.warn(f"{format_count(counts['transparent'], 'image')} with transparent pixels: shown over white")
    if counts["grey"] and not grey:
        remarks.warn(f"{counts['grey']} grey images read as RGB beside {len(files) - counts['grey']} in colour")
    if counts["rotated"]:
        remarks.warn(f"{format_count(counts['rotated'], 'image')} turned as the EXIF orientation says")
    if counts["frames"]:
        remarks.warn(f"{format_count(counts['frames'], 'file')} with several pictures: only the first of each is read")


def decode(file: Path, form: ImageForm) -> np.ndarray:
    """The image in `file` as uint8 [C, H, W] of the common form; raises DataError."""
    from PIL import Image, ImageOps

    with _opened(file) as image:
        upright = _upright(image)
        if form.alpha:
            plain = upright.convert("RGBA").getchannel("A")
        elif _has_alpha(upright):
            rgba = upright.convert("RGBA")
            plain = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        else:
            plain = upright
        plain = plain.convert("L" if form.channels == 1 else "RGB")
    if form.is_cropped:
        plain = ImageOps.fit(plain, (form.size[1], form.size[0]), method=Image.Resampling.BILINEAR)
    return np.asarray(plain, dtype=np.uint8).reshape(*form.size, form.channels).transpose(2, 0, 1)


def _inspect_file(file: Path) -> FileProperties:
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
    return FileProperties(
        grey=grey,
        size=(width, height) if orientation >= 5 else (height, width),
        rotated=orientation != 1,
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


def _upright(image: Image) -> Image:
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
            # About an image so large that it may be an attack on the memory.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
                yield image
    except (DataError, MemoryError):
        raise
    # Pillow's many decoders raise more kinds than can be listed: all of them mean that the file is damaged.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} cannot be read as an image: {why[:200]}", "remove or replace it") from error
