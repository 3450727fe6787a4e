"""A report read back from the JSON that `--format json` wrote: of trained networks, of timings, or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relubench.errors import UsageError
from relubench.reports.choosing.recorded import recorded_report
from relubench.reports.names import renamed_columns
from relubench.reports.ranking import ranking_columns
from relubench.reports.report import Column, Note, Report, Row, listing_columns
from relubench.reports.saved import read_object
from relubench.reports.training.sparsity import sparsity_columns
from relubench.reports.training.table import training_columns

NEEDED = {"command", "version", "rows", "runs"}
FIXED = frozenset((*NEEDED, "device", "words"))
HINT = "give files written by relubench with --format json or --output FILE.json"


def read_report(path: Path) -> Report:
    """The report in the file; raises UsageError for a file that holds none."""
    content = read_object(path, HINT)
    rows, runs = content["rows"], content["runs"]
    if not all(
        isinstance(records, list) and all(isinstance(record, dict) for record in records) for records in (rows, runs)
    ):
        raise UsageError(f"{path} is damaged: its rows and runs must be lists of objects", HINT)
    words = content.get("words")
    words = words if isinstance(words, dict) else {}
    try:
        if content["command"] == "choose":
            # It follows from its runs, its ranking of several data sets too.
            return replace(recorded_report(content), command_line=_text(words, "command_line"))
        return _report(content, words, rows, runs)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise UsageError(f"{path} is damaged: its table cannot be read ({error!r})", HINT) from error


def _report(content: dict[str, Any], words: dict[str, Any], rows: list[Row], runs: list[Row]) -> Report:
    report = Report(
        command=str(content["command"]),
        version=str(content["version"]),
        device=content.get("device"),
        rows=rows,
        runs=runs,
        columns=_columns(content, rows, _text(words, "against")),
        about={key: value for key, value in content.items() if key not in FIXED},
        title=_text(words, "title") or f"{content['command']}, relubench {content['version']}",
        caption=_text(words, "caption"),
        notes=[Note(str(note["text"]), note.get("kind", "footnote")) for note in words.get("notes", ())],
        sentence=_text(words, "sentence"),
        question=_text(words, "question"),
        against=_text(words, "against"),
        figures=tuple(str(name) for name in words.get("figures", ())),
        tunings=words.get("tunings", ()),
        command_line=_text(words, "command_line"),
    )
    report = renamed_columns(report, words.get("names", {}))
    # A cell that cannot be made is found here, and not in the middle of the page.
    for row in rows:
        for column in report.columns:
            column.cell(row)
            column.style(row)
    return report


def _columns(content: Mapping[str, Any], rows: Sequence[Row], against: str) -> Sequence[Column]:
    """The columns that people had; of timings every key of the rows, since their columns need the measurement."""
    command = content["command"]
    if command in ("train", "run", "pretrain"):
        return training_columns(rows, against)
    if command == "ablate-sparsity":
        return sparsity_columns(rows)
    if command == "rank":
        return ranking_columns(str(content["compared_with"]))
    filled = [{key: value for key, value in row.items() if value is not None} for row in rows]
    return listing_columns(filled)


def _text(words: dict[str, Any], key: str) -> str:
    return str(words.get(key) or "")
