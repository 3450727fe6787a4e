"""The facts of a data set's arrays, stored with its prepared copy: counts, ranges, images that occur twice.

From these follow the warnings about data that a result would not show: test images that are training images, equal or
empty images, classes that a part lacks. Torch-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relubench.data.notes import format_count, format_names, on_one_line
from relubench.data.split_arrays import SplitArrays

BLOCK_BYTES = 2**24
"""Bytes of an array that are read at a time, about."""
COMPARED_BYTES = 2**31
"""Bytes of a data set above which images are not compared with each other."""
REPEATED_SHARE = 0.001
"""The share of a part's images that occur in another part from which on there is a warning."""
BLANK_SHARE = 0.05
"""The share of images of a single value from which on there is a warning."""
UNEQUAL = 10
"""The ratio of the commonest class to the rarest from which on there is a warning."""
FEW_VALID = 20
"""The number of validation images below which there is a warning: they hardly distinguish epochs."""
PART_NAMES = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFacts:
    """The facts of one part: `counts` of its images by class, the `low`est and `high`est stored value, other counts."""

    counts: tuple[int, ...]
    low: float
    high: float
    blank: int
    """Images of one single value."""
    repeated: int | None
    """Images that also occur in an earlier part (training, validation, test), rows of a table with the same target;
    None where that was not compared."""
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
    if parts.x_train.ndim == 1:
        return _survey_text(parts)
    arrays = parts.arrays()
    compared = sum(array.nbytes for array in arrays.values()) <= COMPARED_BYTES
    digests_before: set[bytes] = set()
    targets_before: set[bytes] = set()
    facts: dict[str, PartFacts] = {}
    for name in PART_NAMES:
        x, y = arrays[f"x_{name}"], arrays[f"y_{name}"]
        digests = _digests(x) if compared else []
        # A row of a table can agree in its few values with a row of another target: by heart is known the target.
        with_targets = digests if parts.noun == "image" or not compared else _digests(x, y)
        low, high, blank = _value_range(x)
        facts[name] = PartFacts(
            counts=_counts(y, parts.classes),
            low=low,
            high=high,
            blank=blank if parts.noun == "image" and x[0].size > 1 else 0,
            repeated=sum(digest in targets_before for digest in with_targets) if compared else None,
            contradicted=_count_contradicted(digests, y) if compared else None,
        )
        digests_before.update(digests)
        targets_before.update(with_targets)
    names = tuple(map(on_one_line, parts.names)) or tuple(str(label) for label in range(parts.classes))
    distinct = len(digests_before) if compared else None
    from_counts = _warnings(facts, parts.noun, distinct, () if _are_numbers(parts.y_train) else names)
    warnings = [*parts.remarks.warnings, *from_counts]
    if all(_is_grey_in_colour(arrays[f"x_{name}"]) for name in PART_NAMES):
        warnings.append(
            "all images are grey, stored as colour: three equal channels, and three times the first weights"
        )
    return Facts(parts=facts, names=names, notes=tuple(parts.remarks.notes), warnings=tuple(warnings))


def _survey_text(parts: SplitArrays) -> Facts:
    """The facts of a text, whose classes are the 256 bytes; its windows are not compared with each other."""
    facts: dict[str, PartFacts] = {}
    for name in PART_NAMES:
        blocks = (np.bincount(block, minlength=256) for block in _blocks(parts.arrays()[f"x_{name}"]))
        counts = sum(blocks, np.zeros(256, np.int64))
        present = np.flatnonzero(counts)
        ends = (float(present[0]), float(present[-1])) if len(present) else (0.0, 0.0)
        facts[name] = PartFacts(
            counts=tuple(counts.tolist()), low=ends[0], high=ends[1], blank=0, repeated=None, contradicted=None
        )
    return Facts(parts=facts, names=(), notes=tuple(parts.remarks.notes), warnings=tuple(parts.remarks.warnings))


def _counts(y: np.ndarray, classes: int) -> tuple[int, ...]:
    """How many examples each class has; targets that are numbers are all counted together."""
    if _are_numbers(y):
        return (len(y),)
    return tuple(np.bincount(y, minlength=classes).tolist())


def _are_numbers(y: np.ndarray) -> bool:
    """Whether targets are numbers to be predicted, and no classes."""
    return np.issubdtype(y.dtype, np.floating)


def _warnings(parts: Mapping[str, PartFacts], noun: str, distinct: int | None, classes: Sequence[str]) -> Iterator[str]:
    """Warnings that follow from the counts, about faults that a result would not show; `classes`: their names."""
    total = sum(part.images for part in parts.values())
    if distinct == 1:
        yield f"all {total:,} {noun}s are equal: there is nothing to tell apart"
        return
    yield from _repeated_images(parts, noun)
    if classes and (contradicted := parts["train"].contradicted):
        yield f"{format_count(contradicted, f'training {noun}')} occur under two labels or more"
    if (blank := sum(part.blank for part in parts.values())) > BLANK_SHARE * total:
        yield f"{blank:,} of {total:,} {noun}s are of one single value each: there is nothing to see in them"
    if classes:
        yield from _unequal_classes(parts, classes, noun)
    yield from _unfit_sizes(parts, noun)


def _unequal_classes(parts: Mapping[str, PartFacts], names: Sequence[str], noun: str) -> Iterator[str]:
    """Warnings of classes that a part lacks, or that are much rarer than others."""
    for name, part in parts.items():
        if lacking := [class_name for class_name, count in zip(names, part.counts, strict=True) if not count]:
            which = "the classes" if len(lacking) > 1 else "the class"
            yield f"no {PART_NAMES[name]} {noun} of {which} {format_names(lacking)}"
    counts = parts["train"].counts
    largest, smallest = max(counts), min(count for count in counts if count)
    if largest >= UNEQUAL * smallest:
        commonest, rarest = counts.index(largest), counts.index(smallest)
        share = 100 * (1 - parts["test"].counts[commonest] / parts["test"].images)
        pair = f"{largest:,} training {noun}s of class {names[commonest]}, {smallest:,} of {names[rarest]}"
        yield f"the classes are unequal: {pair}; always naming the commonest errs on {share:.1f} % of the test {noun}s"


def _unfit_sizes(parts: Mapping[str, PartFacts], noun: str) -> Iterator[str]:
    """Warnings of parts that are too large or too small beside the others."""
    trained = parts["train"].images + parts["valid"].images
    if parts["test"].images > trained and noun != "pixel":
        sizes = f"{parts['test'].images:,} test {noun}s and {trained:,} to train and validate on"
        yield f"there are {sizes}: are the parts exchanged?"
    if parts["valid"].images < FEW_VALID:
        text = format_count(parts["valid"].images, f"validation {noun}")
        yield f"only {text} choose{'s' if parts['valid'].images == 1 else ''} the best epoch, which is hardly a choice"


def _repeated_images(parts: Mapping[str, PartFacts], noun: str) -> Iterator[str]:
    """Warnings of images that occur in two parts."""
    test, valid = parts["test"], parts["valid"]
    for part, kind, meaning in (
        (test, "test", "the test error is too low by what is known by heart"),
        (valid, "validation", "the best epoch is chosen by what is known by heart"),
    ):
        if part.repeated and part.repeated >= REPEATED_SHARE * part.images:
            share = f"{part.repeated:,} of {part.images:,} {kind} {noun}s ({100 * part.repeated / part.images:.1f} %)"
            exactly = "pixel by pixel" if noun == "image" else "in every value and the target"
            yield f"{share} are also training {noun}s, {exactly}: {meaning}"


def _digests(x: np.ndarray, y: np.ndarray | None = None) -> list[bytes]:
    """One digest for each example of x [N, ...], with its target of y [N] where that counts as well."""
    ends = [b""] * len(x) if y is None else [target.tobytes() for target in y]
    examples = zip(x, ends, strict=True)
    return [hashlib.blake2b(example.tobytes() + end, digest_size=16).digest() for example, end in examples]


def _count_contradicted(digests: Sequence[bytes], y: np.ndarray) -> int:
    """The number of a part's images that occur in it under another label as well."""
    labels: dict[bytes, int] = {}
    contradicted = {
        digest for digest, label in zip(digests, y.tolist(), strict=True) if labels.setdefault(digest, label) != label
    }
    return sum(digest in contradicted for digest in digests) if contradicted else 0


def _value_range(x: np.ndarray) -> tuple[float, float, int]:
    """The lowest and the highest value of images [N, ...], and how many images have one value only."""
    low, high, blank = np.inf, -np.inf, 0
    for block in _blocks(x):
        flat = block.reshape(len(block), -1)
        lowest, highest = flat.min(axis=1), flat.max(axis=1)
        low, high = min(low, float(lowest.min())), max(high, float(highest.max()))
        blank += int((lowest == highest).sum())
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
