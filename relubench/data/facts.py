"""What is seen in the arrays of a data set, kept with its prepared copy: counts, ranges, images that occur twice.

From these follow the warnings about data that a result would not show: test images that are training images, equal or
empty images, classes that a part lacks. Torch-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relubench.data.notes import counted, few
from relubench.data.split_arrays import SplitArrays

BLOCK_BYTES = 2**24
"""About so much of an array is looked at in one go."""
COMPARED_BYTES = 2**31
"""In larger sets no image is compared with the others."""
REPEATED_SHARE = 0.001
"""Share of a part's images that occur in another part, from which on it is a warning."""
BLANK_SHARE = 0.05
"""Share of images of one single value, likewise."""
UNEQUAL = 10
"""How often as many images the commonest class has as the rarest, likewise."""
FEW_VALID = 20
"""Validation images, fewer of which hardly tell one epoch from another."""
PART_NAMES = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFacts:
    """One part: `counts` of its images by class, the `low`est and `high`est stored value, and three other counts."""

    counts: tuple[int, ...]
    low: float
    high: float
    blank: int
    """Images of one single value."""
    repeated: int | None
    """Images that also occur in a part before it (training, validation, test); None where that was not looked at."""
    contradicted: int | None
    """Images that occur in this part under two labels or more; None likewise."""

    @property
    def images(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All parts, what the user calls the classes, and what a person has to be text."""

    parts: dict[str, PartFacts]
    names: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def from_json(cls, values: Any) -> Facts | None:
        """The facts of meta.json; None where it has none."""
        if values is None:
            return None
        parts = {name: PartFacts(**{**part, "counts": tuple(part["counts"])}) for name, part in values["parts"].items()}
        lists = {key: tuple(values[key]) for key in ("names", "notes", "warnings")}
        return cls(parts=parts, **lists)


def survey(parts: SplitArrays) -> Facts:
    """The facts of a data set in memory or mapped from files; every image is read once or twice."""
    arrays = parts.arrays()
    compared = sum(array.nbytes for array in arrays.values()) <= COMPARED_BYTES
    known: set[bytes] = set()
    seen: dict[str, PartFacts] = {}
    for name in PART_NAMES:
        x, y = arrays[f"x_{name}"], arrays[f"y_{name}"]
        digests = _digests(x) if compared else []
        low, high, blank = _values(x)
        seen[name] = PartFacts(
            counts=tuple(np.bincount(y, minlength=parts.classes).tolist()),
            low=low,
            high=high,
            blank=blank,
            repeated=sum(digest in known for digest in digests) if compared else None,
            contradicted=_contradicted(digests, y) if compared else None,
        )
        known.update(digests)
    names = parts.names or tuple(str(label) for label in range(parts.classes))
    warnings = [*parts.remarks.warnings, *_warnings(seen, names, distinct=len(known) if compared else None)]
    if all(_is_grey_in_colour(arrays[f"x_{name}"]) for name in PART_NAMES):
        warnings.append(
            "all images are grey, stored as colour: three equal channels, and three times the first weights"
        )
    return Facts(parts=seen, names=names, notes=tuple(parts.remarks.notes), warnings=tuple(warnings))


def _warnings(parts: Mapping[str, PartFacts], names: Sequence[str], distinct: int | None) -> Iterator[str]:
    """What the counts say of a result that they would not show otherwise."""
    total = sum(part.images for part in parts.values())
    if distinct == 1:
        yield f"all {total:,} images are equal: there is nothing to tell apart"
        return
    yield from _repeated(parts)
    if contradicted := parts["train"].contradicted:
        yield f"{counted(contradicted, 'training image')} occur under two labels or more"
    if (blank := sum(part.blank for part in parts.values())) > BLANK_SHARE * total:
        yield f"{blank:,} of {total:,} images are of one single value each: there is nothing to see in them"
    for name, part in parts.items():
        if lacking := [names[place] for place, count in enumerate(part.counts) if not count]:
            yield f"no {PART_NAMES[name]} image of {'the classes' if len(lacking) > 1 else 'the class'} {few(lacking)}"
    counts = parts["train"].counts
    most, least = max(counts), min(count for count in counts if count)
    if most >= UNEQUAL * least:
        share = 100 * (1 - parts["test"].counts[counts.index(most)] / parts["test"].images)
        pair = (
            f"{most:,} training images of class {names[counts.index(most)]}, {least:,} of {names[counts.index(least)]}"
        )
        yield f"the classes are unequal: {pair}; always naming the commonest errs on {share:.1f} % of the test images"
    trained = parts["train"].images + parts["valid"].images
    if parts["test"].images > trained:
        sizes = f"{parts['test'].images:,} test images and {trained:,} to train and validate on"
        yield f"there are {sizes}: are the parts exchanged?"
    if parts["valid"].images < FEW_VALID:
        text = counted(parts["valid"].images, "validation image")
        yield f"only {text} choose{'s' if parts['valid'].images == 1 else ''} the best epoch, which is hardly a choice"


def _repeated(parts: Mapping[str, PartFacts]) -> Iterator[str]:
    """Images of one part that also occur in another."""
    test, valid = parts["test"], parts["valid"]
    for part, kind, meaning in (
        (test, "test", "the test error is too low by what is known by heart"),
        (valid, "validation", "the best epoch is chosen by what is known by heart"),
    ):
        if part.repeated and part.repeated >= REPEATED_SHARE * part.images:
            share = f"{part.repeated:,} of {part.images:,} {kind} images ({100 * part.repeated / part.images:.1f} %)"
            yield f"{share} are also training images, pixel by pixel: {meaning}"


def _digests(x: np.ndarray) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in x]


def _contradicted(digests: Sequence[bytes], y: np.ndarray) -> int:
    """How many of a part's images occur in it under another label as well."""
    labels: dict[bytes, int] = {}
    torn = {
        digest for digest, label in zip(digests, y.tolist(), strict=True) if labels.setdefault(digest, label) != label
    }
    return sum(digest in torn for digest in digests) if torn else 0


def _values(x: np.ndarray) -> tuple[float, float, int]:
    """The lowest and the highest value of images [N, ...], and how many images have one value only."""
    low, high, blank = np.inf, -np.inf, 0
    for block in _blocks(x):
        flat = block.reshape(len(block), -1)
        least, most = flat.min(axis=1), flat.max(axis=1)
        low, high = min(low, float(least.min())), max(high, float(most.max()))
        blank += int((least == most).sum())
    return low, high, blank


def _is_grey_in_colour(x: np.ndarray) -> bool:
    """Whether images [N, 3, H, W] have three equal channels throughout."""
    if x.ndim != 4 or x.shape[1] != 3:
        return False
    blocks = _blocks(x)
    return all(np.array_equal(x[:, 0], x[:, 1]) and np.array_equal(x[:, 0], x[:, 2]) for x in blocks)


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, BLOCK_BYTES * len(x) // max(x.nbytes, 1))
    for start in range(0, len(x), rows):
        yield x[start : start + rows]
