"""The result of a command as a report: rows for programs, columns for people, title and notes. It knows no format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relubench.reports.formatting import short
from relubench.runs.result import RunResult, Timing
from relubench.statistics.example_scores import Scores, pack

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column for people: what each row's cell says."""

    header: str
    cell: Callable[[Row], Sequence[str]]
    """The cell's text in parts, which may stand under each other where the line is too narrow for all."""
    right: bool = True
    """Numbers are set to the right, words to the left."""
    drop_order: int = 0
    """The order in which columns are left out of a table that is too wide: 1 first; 0 never."""
    style: Callable[[Row], str] = lambda row: ""
    """A rich style for the cell; the text says the same, so that nothing is lost without colours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A command's result: `rows` and `runs` with their keys for machines, `columns` for people."""

    command: str
    version: str
    device: str | None
    rows: list[Row]
    columns: Sequence[Column]
    runs: list[Row] = field(default_factory=list)
    about: Row = field(default_factory=dict)
    """Keys of the JSON object beside the fixed ones: the preset and its scale, for example."""
    human_rows: list[Row] | None = None
    """The rows that the columns are made from, where they differ from `rows`: several rows in one line, for example."""
    title: str = ""
    caption: str = ""
    """What all rows share, in one line under the title."""
    footnotes: Sequence[str] = ()
    sentence: str = ""

    @property
    def display_rows(self) -> list[Row]:
        """The rows that the columns are made from, one for each line of the table."""
        return self.rows if self.human_rows is None else self.human_rows


def run_records(
    results: Sequence[RunResult], timings: Mapping[str, Timing | None], mask_of: Callable[[RunResult], Scores | None]
) -> list[Row]:
    """The runs as JSON carries them: with their timing, and what became of each test example, so that files compare."""
    records = []
    for result in results:
        timing, scores = timings.get(result.id), mask_of(result)
        is_mask = scores is None or scores.dtype == bool
        records.append(
            {
                **result.to_json(),
                "timing": timing.to_json() if timing else None,
                "test_wrong" if is_mask else "test_losses": None if scores is None else pack(scores),
            }
        )
    return records


def listing_columns(rows: Sequence[Row]) -> list[Column]:
    """A column for each key of the rows, in order of appearance; the first is the name."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [_listing_column(key, rows) for key in keys]


def _listing_column(key: str, rows: Sequence[Row]) -> Column:
    numbers = all(isinstance(row.get(key), int | float | None) and not isinstance(row.get(key), bool) for row in rows)
    return Column(header=key.replace("_", " "), cell=lambda row: [short(row.get(key))], right=numbers)
