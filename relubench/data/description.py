"""The description of a prepared data set: a line for what was read, and a line for each warning. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relubench.data.facts import PART_NAMES, Facts, survey
from relubench.data.notes import format_count, format_names, on_one_line
from relubench.data.prepared import PreparedData, arrays, image_range
from relubench.data.split_arrays import SPLITS, SplitArrays, named
from relubench.errors import WARNING


def lines_about(sets: Iterable[PreparedData]) -> list[str]:
    """The description of each data set: a line, and its warnings, which begin with WARNING; no line occurs twice."""
    return list(dict.fromkeys(line for prepared in sets for line in _lines(prepared)))


def _lines(prepared: PreparedData) -> Iterator[str]:
    yield f"data: {summary(prepared)}"
    for warning in prepared.facts.warnings if prepared.facts else ():
        yield on_one_line(f"{WARNING}{prepared.name}: {warning}")


def summary(prepared: PreparedData) -> str:
    """The data set in one line: its classes, the images of each part, their shape, their values, how it was read."""
    counts = (prepared.n_train, prepared.n_valid, prepared.n_test)
    images = [f"{count:,} {PART_NAMES[split]}" for split, count in zip(SPLITS, counts, strict=True)]
    if prepared.context is not None:
        return _summary_of_text(prepared)
    shape = "x".join(str(side) for side in prepared.input_shape)
    kind = f"images of {shape}" if len(prepared.input_shape) == 3 else f"rows of {shape} values"
    parts = [f"{prepared.name}: {_targets(prepared)}"]
    if prepared.facts is not None and prepared.facts.names != tuple(map(str, range(prepared.classes))):
        parts[0] += f" ({format_names(prepared.facts.names)})"
    parts.append(f"{', '.join(images[:2])} and {images[2]} {kind}")
    notes = prepared.facts.notes if prepared.facts else ()
    return on_one_line("; ".join([*parts, _values(prepared), *notes]))


def _targets(prepared: PreparedData) -> str:
    """What is predicted: '10 classes', 'a number', '3 numbers'."""
    are_numbers = prepared.facts is not None and len(prepared.facts.parts["train"].counts) == 1
    if are_numbers:
        return "a number" if prepared.classes == 1 else f"{prepared.classes} numbers"
    return format_count(prepared.classes, "class").replace("classs", "classes")


def _summary_of_text(prepared: PreparedData) -> str:
    """A text in one line: its windows, their length, how it was read."""
    counts = (prepared.n_train, prepared.n_valid, prepared.n_test)
    parts = [f"{count:,} {PART_NAMES[split]}" for split, count in zip(SPLITS, counts, strict=True)]
    notes = prepared.facts.notes if prepared.facts else ()
    distinct = f"{_distinct(prepared.facts)} different bytes" if prepared.facts else "bytes"
    windows = f"{', '.join(parts[:2])} and {parts[2]} windows of {prepared.context} characters"
    return on_one_line("; ".join([f"{prepared.name}: a text of {distinct}", windows, *notes]))


def _distinct(facts: Facts) -> int:
    """How many of the 256 bytes occur in a text."""
    return sum(any(counts) for counts in zip(*(part.counts for part in facts.parts.values()), strict=True))


def _values(prepared: PreparedData) -> str:
    scale, shift = prepared.scale, prepared.shift
    if prepared.facts is None:
        low, high = image_range(prepared)
        return f"values from {low:.4g} to {high:.4g}"
    low = min(part.low for part in prepared.facts.parts.values())
    high = max(part.high for part in prepared.facts.parts.values())
    text = f"values from {low:.4g} to {high:.4g}"
    if (scale, shift) == (1, 0):
        return text
    return f"{text}, scaled to {low * scale + shift:.4g} to {high * scale + shift:.4g}"


def facts_of(prepared: PreparedData) -> Facts:
    """The facts stored with the prepared copy; counted now where the copy is older than this record."""
    if prepared.facts is not None:
        return prepared.facts
    train, valid, test = (arrays(prepared, split) for split in SPLITS)
    parts = named(train, valid, test)
    return survey(SplitArrays(**parts, classes=prepared.classes, scale=prepared.scale, shift=prepared.shift, note=""))
