"""The rows of presets/reference/*.csv: numbers that others published, as their sources have them."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from relubench.errors import DataError
from relubench.system.paths import presets_folder


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a reference file."""

    table: str
    dataset: str
    model: str
    activation: str
    pretraining: str
    condition: str
    metric: str
    value: float
    unit: str
    note: str
    source: str
    page: str = ""
    """Of the PDF, from 1; empty for pages without any."""
    protocol: str = ""
    mark: str = "A"
    """A: read in the source itself; B: read in a page about it."""
    citation: str = ""


@functools.cache
def entries(source: str) -> tuple[Entry, ...]:
    """The rows of presets/reference/SOURCE.csv that hold a value; raises DataError on a missing or malformed file."""
    path = presets_folder() / "reference" / f"{source}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["value"]]
        return tuple(Entry(**{**row, "value": float(row["value"])}) for row in rows)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error!r}", "install relubench again") from error


def tables() -> dict[str, list[str]]:
    """The tables of each source that hold test errors: what a preset can be compared with."""
    return {
        source: list(dict.fromkeys(entry.table for entry in entries(source) if entry.metric == "test_error"))
        for source in ("glorot2011", "article")
    }
