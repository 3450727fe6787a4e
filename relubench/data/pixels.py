"""A user's images in one form: uint8 or float32, channels first, and the scale that they are trained with.

- [N, H, W] is grey. Of [N, a, b, c] the channels are `a` where that is 1 or 3; else `c` where that is at most 4 and
  less than `a`; else `a`. Where both `a` and `c` could be colours, both readings are named.
- Booleans and whole numbers from 0 to 255 of any type are read as uint8. Where they run to 1 only, they are trained as
  they are, else scaled by 1/255.
- Floating-point values are trained as they are, unless they clearly run from 0 to 255: then they are scaled likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from relubench.data.notes import Remarks, refuse
from relubench.data.split_arrays import Split

LAYOUTS = "images are [N, H, W], [N, C, H, W] (channels first), [N, H, W, C] or flat [N, F]"
COLOURS = (1, 3)
"""A second axis of this length is taken for the channels, whatever the last one is."""
MOST_CHANNELS = 4
"""A longer last axis is never taken for channels."""
BRIGHT = 128
"""Floating-point pixels from 0 to at least this, and at most 255, are those of 8 bits."""
DARK = 64
"""Where 8-bit pixels go no further than this, a quarter of their range is used."""
LARGE = 3.0
"""Root mean square of the values from which on a network starts badly; 1 where they are standardised."""
SAMPLE = 10**7
"""Values whose root mean square is taken."""
MAX_RANGE_RATIO = 4.0
"""How many times as far the values of one part may go as those of the training part."""


def as_images(path: Path, key: str, x: np.ndarray, remarks: Remarks) -> np.ndarray:
    """`x` as uint8 or float32 [N, C, H, W] or [N, F]; raises DataError for any other array."""
    if not x.size:
        refuse(path, f"has an empty {key}: its shape is {x.shape}", "give at least one example")
    if x.ndim not in (2, 3, 4):
        refuse(path, f"has {key} of shape {x.shape}", LAYOUTS)
    return _channels_first(key, _as_numbers(path, key, x, remarks), remarks)


def scale_of(images: Mapping[Split, np.ndarray], remarks: Remarks) -> float:
    """The factor of the pixels in training; a remark where it, or their range, may not be what the user meant."""
    ends: dict[Split, tuple[float, float]] = {split: (float(x.min()), float(x.max())) for split, x in images.items()}
    low, high = min(end[0] for end in ends.values()), max(end[1] for end in ends.values())
    _compare_parts(ends, remarks)
    train = images["train"]
    if train.dtype == np.uint8:
        return _scale_of_bytes(high, remarks)
    bright = low >= 0 and high <= 255 and all(end[1] >= BRIGHT for end in ends.values())
    if bright and (train.ndim == 4 or not np.any(train % 1)):
        remarks.warn(
            f"floating-point pixels run from {low:g} to {high:g}: they are scaled by 1/255, as 8-bit pixels are; "
            "divide them by 255 yourself to be sure"
        )
        return 1 / 255
    sample = train.reshape(-1)[:SAMPLE].astype(np.float64)
    size = float(np.sqrt(np.mean(sample * sample)))
    if size > LARGE:
        remarks.warn(
            f"values run from {low:g} to {high:g} and are trained as they are: networks start best from values "
            "about 1 in size, x / abs(x).max() has them"
        )
    return 1.0


def _scale_of_bytes(high: float, remarks: Remarks) -> float:
    if high == 1:
        remarks.note("pixels are 0 and 1, and trained so")
        return 1.0
    if 1 < high <= DARK:
        remarks.warn(
            f"8-bit pixels go no further than {high:g} and are scaled by 1/255: the network sees at most "
            f"{high / 255:.2g}; (x / {high:g}).astype(numpy.float32) has the whole range"
        )
    return 1 / 255


def _compare_parts(ends: Mapping[Split, tuple[float, float]], remarks: Remarks) -> None:
    """Adds a remark where one part's values go much further than the training part's, or less far."""
    reach: dict[Split, float] = {split: max(abs(low), abs(high)) for split, (low, high) in ends.items()}
    for split, far in reach.items():
        if far > MAX_RANGE_RATIO * reach["train"] or reach["train"] > MAX_RANGE_RATIO * far:
            pair: tuple[Split, Split] = ("train", split)
            spans = " and ".join(f"x_{name} from {ends[name][0]:g} to {ends[name][1]:g}" for name in pair)
            remarks.warn(f"values run in {spans}: was one of them scaled and the other not?")


def _as_numbers(path: Path, key: str, x: np.ndarray, remarks: Remarks) -> np.ndarray:
    """`x` as uint8 or float32, in its own shape."""
    if x.dtype.kind in "biu":
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > 255:
            hint = f"({key} / {max(abs(low), high)}).astype(numpy.float32) has values of at most 1"
            refuse(path, f"has {x.dtype} pixels from {low} to {high} in {key}", f"whole numbers are 0 to 255: {hint}")
        if x.dtype != np.uint8 and key == "x_train":
            remarks.note(f"{x.dtype} pixels are read as uint8")
        return x.astype(np.uint8, copy=False)
    if x.dtype.kind != "f":
        hint = f"use whole numbers from 0 to 255 or floating-point: {key}.astype(numpy.float32)"
        refuse(path, f"has {x.dtype} pixels in {key}", hint)
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    is_invalid = ~np.isfinite(x)
    if count := int(is_invalid.sum()):
        index = tuple(int(place) for place in np.unravel_index(int(is_invalid.argmax()), x.shape))
        hint = f"replace them, or leave these examples out: numpy.nan_to_num({key}) has zeros there"
        refuse(path, f"has {count} NaN or infinite values in {key}, the first at {index}", hint)
    return x


def _channels_first(key: str, x: np.ndarray, remarks: Remarks) -> np.ndarray:
    if x.ndim != 4:
        return x[:, None] if x.ndim == 3 else x
    second_axis, last_axis = x.shape[1], x.shape[3]
    channels_last = second_axis not in COLOURS and last_axis <= MOST_CHANNELS and last_axis < second_axis
    if key == "x_train" and channels_last:
        remarks.warn(
            f"{key} of shape {x.shape} is read with channels last: {last_axis} channels of "
            f"{second_axis}x{x.shape[2]} pixels; if that is wrong, give flat rows: x.reshape(len(x), -1)"
        )
    elif key == "x_train" and second_axis == 3 and last_axis in COLOURS:
        remarks.warn(
            f"{key} of shape {x.shape} is read with channels first: {second_axis} channels of "
            f"{x.shape[2]}x{last_axis} pixels; "
            "if the last axis are the channels, write numpy.transpose(x, (0, 3, 1, 2))"
        )
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if channels_last else x
