"""Any table of the program: rows for programs; columns, notes and a sentence for people. It knows no format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from relubench.reports.formatting import short
from relubench.runs.result import RunResult, Timing
from relubench.statistics.example_scores import Scores, pack
from relubench.version import __version__

Row = dict[str, Any]

DIGEST = "record_sha256"
"""The key of a run's record in a result that holds its digest: a changed digit is found, whatever it is of."""

BESIDE_RESULT = ("timing", "test_wrong", "test_losses", DIGEST)
"""Keys of a run in a file that its RunResult has not."""

LONGEST_NAME = 32
"""Characters of a word in a list that stays in one line."""

IDENTIFYING = ("year", "seed")
"""Whole numbers that are names: written without a sign between the thousands."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line under a table: a footnote on its numbers, or a warning that is said where a format has no notes, too.

    An aside is on what the table could have seen: a table in a paper goes without it.
    """

    text: str
    kind: Literal["footnote", "warning", "aside"] = "footnote"


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
    is_whole: bool = False
    """Whether each of its cells stays in one line at any width, as names and numbers of a list do."""
    style: Callable[[Row], str] = lambda row: ""
    """A rich style for the cell; the text says the same, so that nothing is lost without colours."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a page."""

    caption: str
    content: bytes
    kind: str
    """png or jpeg."""
    key: str = ""
    """The activation that it belongs to, if any."""


@dataclass(frozen=True, slots=True)
class PictureSheet:
    """Pictures beside each other, with their title and how to read them."""

    title: str = ""
    reading: str = ""
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A command's result: `rows` and `runs` with their keys for machines, `columns` for people."""

    command: str
    rows: list[Row]
    columns: Sequence[Column]
    version: str = __version__
    device: str | None = None
    runs: list[Row] = field(default_factory=list)
    about: Row = field(default_factory=dict)
    """Keys of the JSON object beside the fixed ones: the preset and its scale, for example."""
    human_rows: list[Row] | None = None
    """The rows that the columns are made from, where they differ from `rows`: several rows in one line, for example."""
    title: str = ""
    caption: str = ""
    """What all rows share, in one line under the title."""
    notes: Sequence[Note] = ()
    sentence: str = ""
    question: str = ""
    """What the result answers, in one sentence; a page begins with it."""
    against: str = ""
    """What rows are compared with, if it was named."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Label of an activation -> the name that the user gave its rows, for people."""
    figures: Sequence[str] = ()
    """Names of FIGURES: what this result is about, the first of them first."""
    pictures: PictureSheet = PictureSheet()
    """What the networks drew, for a page; no file of results has it."""
    tunings: Sequence[Row] = ()
    """What `--lr auto` found: for each activation its `rates`, their `scores`, and the rate that was chosen."""
    command_line: str = ""
    """What was typed, as far as it makes the result."""
    tables: Sequence[Report] = ()
    """What people read instead, one below the other, where one table cannot show it."""

    @property
    def display_rows(self) -> list[Row]:
        """The rows that the columns are made from, one for each line of the table."""
        return self.rows if self.human_rows is None else self.human_rows

    @property
    def note_texts(self) -> list[str]:
        """The lines under the table, each once."""
        return list(dict.fromkeys(note.text for note in self.notes))

    @property
    def warnings(self) -> list[str]:
        """Those notes that are warnings."""
        return [note.text for note in self.notes if note.kind == "warning"]


def footnotes(texts: Iterable[str]) -> list[Note]:
    """The texts as footnotes, without the empty ones."""
    return [Note(text) for text in texts if text]


def asides(texts: Iterable[str]) -> list[Note]:
    """The texts as asides."""
    return [Note(text, "aside") for text in texts]


def warnings(texts: Iterable[str]) -> list[Note]:
    """The texts as warnings."""
    return [Note(text, "warning") for text in texts]


def run_records(
    results: Sequence[RunResult], timings: Mapping[str, Timing | None], mask_of: Callable[[RunResult], Scores | None]
) -> list[Row]:
    """The runs as JSON carries them: with their timing, and what became of each test example, so that files compare."""
    records = []
    for result in results:
        timing, scores = timings.get(result.id), mask_of(result)
        is_mask = scores is None or scores.dtype == bool
        record = {
            **result.to_json(),
            "timing": timing.to_json() if timing else None,
            "test_wrong" if is_mask else "test_losses": None if scores is None else pack(scores),
        }
        records.append({**record, DIGEST: record_digest(record)})
    return records


def record_digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a run's record as JSON, without the key that holds it."""
    values = {key: value for key, value in record.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def listing(
    command: str,
    rows: Sequence[Row],
    *,
    title: str,
    notes: Sequence[Note] = (),
    about: Row | None = None,
    human_rows: list[Row] | None = None,
    drop_order: Sequence[str] = (),
    tables: Sequence[Report] = (),
) -> Report:
    """The report of rows with a column for each key; the first key is the name.

    `drop_order`: keys whose columns a table that is too wide does without, first to last.
    """
    columns = listing_columns(rows if human_rows is None else human_rows, drop_order)
    return Report(
        command=command,
        rows=list(rows),
        columns=columns,
        about=about or {},
        human_rows=human_rows,
        title=title,
        notes=notes,
        tables=tables,
    )


def listing_columns(rows: Sequence[Row], drop_order: Sequence[str] = ()) -> list[Column]:
    """A column for each key of the rows, in order of appearance; the first is the name.

    Too wide a table does without the keys of `drop_order` first, then without the others from the last to the second;
    it keeps the name and the longest words, which fold.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    words = max(
        keys[1:], key=lambda key: (key not in drop_order, _folds(key, rows) and _longest(key, rows)), default=""
    )
    leaving = [*(key for key in drop_order if key in keys), *(key for key in reversed(keys) if key not in drop_order)]
    orders = {key: place for place, key in enumerate(leaving, 1) if key not in (*keys[:1], words)}
    return [_listing_column(key, rows, orders.get(key, 0), is_name=key == keys[0]) for key in keys]


def _longest(key: str, rows: Sequence[Row]) -> int:
    return max((len(row[key]) for row in rows if isinstance(row.get(key), str)), default=0)


def _folds(key: str, rows: Sequence[Row]) -> bool:
    """Whether a column is of words between spaces, or of longer ones than names are."""
    has_spaces = any(isinstance(row.get(key), str) and " " in row[key].strip() for row in rows)
    return has_spaces or _longest(key, rows) > LONGEST_NAME


def _listing_column(key: str, rows: Sequence[Row], drop_order: int, *, is_name: bool) -> Column:
    numbers = all(isinstance(row.get(key), int | float | None) and not isinstance(row.get(key), bool) for row in rows)

    def cell(row: Row) -> list[str]:
        value = row.get(key)
        return [str(value) if key in IDENTIFYING and value is not None else short(value)]

    is_whole = _longest(key, rows) <= LONGEST_NAME if is_name else not _folds(key, rows)
    return Column(header=key.replace("_", " "), cell=cell, right=numbers, drop_order=drop_order, is_whole=is_whole)
