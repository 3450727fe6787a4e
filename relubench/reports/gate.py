"""A comparison of saved tables, judged row by row by a gate: what regressed, what passed, what could not be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relubench.reports.formatting import count, fixed, join_names
from relubench.reports.report import Column, Report, Row, footnotes
from relubench.reports.saved import SavedTable
from relubench.reports.scores import better_direction, decimals_of, score_of
from relubench.runs.task import CLASSIFICATION
from relubench.statistics.gate import Gate, Outcome

WORDS = {"regression": "regressed", "passed": "passed", "inconclusive": "inconclusive"}


def gated(report: Report, tables: Sequence[SavedTable], gate: Gate) -> Report:
    """The comparison with the gate's outcome in each row and in its sentence; see `has_regression`."""
    rows: list[Row] = [{**row, "gate": _outcome(row, gate)} for row in report.rows]
    column = Column(header="gate", cell=lambda row: [WORDS[row["gate"]]], right=False)
    return replace(
        report,
        rows=rows,
        columns=[*report.columns, column],
        notes=[*report.notes, *footnotes(_notes(rows, tables, gate))],
        sentence=f"{report.sentence} {_sentence(rows, gate)}",
    )


def has_regression(report: Report) -> bool:
    """Whether a row of a gated comparison is a regression."""
    return any(row["gate"] == "regression" for row in report.rows)


def _outcome(row: Row, gate: Gate) -> Outcome:
    if row["verdict"] in ("identical", "same"):
        return "passed"
    low, high = (score_of(row, f"metric_difference_ci_{end}") for end in ("low", "high"))
    if low is None or high is None:
        lost = score_of(row, "test_metric", "baseline_") is not None and score_of(row, "test_metric") is None
        return "regression" if lost and gate.direction != better_direction(row) else "inconclusive"
    return gate.judge(low, high)


def _noun(rows: Sequence[Row]) -> str:
    return "error" if all(row.get("task", CLASSIFICATION) == CLASSIFICATION for row in rows) else "score"


def _size(text: str, rows: Sequence[Row]) -> str:
    """A difference with the unit that errors have."""
    return f"{text} points" if _noun(rows) == "error" else text


def _notes(rows: Sequence[Row], tables: Sequence[SavedTable], gate: Gate) -> list[str]:
    """What the outcomes mean, and what the gate could not judge."""
    direction = {"any": "higher or lower"}.get(gate.direction, gate.direction)
    limit = f"{direction} by more than {_size(f'{gate.points:g}', rows)}" if gate.points else direction
    notes = [
        f"the gate: regressed where all of the interval is {limit}, passed where none is, inconclusive where part is"
    ]
    regressed = [row for row in rows if row["gate"] == "regression"]
    failed = [row["activation"] for row in regressed if score_of(row, "metric_difference") is None]
    notes += [f"regressed because no {_noun(rows)} came out: {join_names(failed)}"] if failed else []
    missing = [key[0] for later in tables[1:] for key in tables[0].rows if key not in later.rows]
    notes += [f"not judged, because a later file has no such row: {join_names(missing)}"] if missing else []
    return notes


def _sentence(rows: Sequence[Row], gate: Gate) -> str:
    phrases = []
    for outcome, word in WORDS.items():
        chosen = [row for row in rows if row["gate"] == outcome]
        if not chosen:
            continue
        names = join_names([row["activation"] for row in chosen])
        phrases.append(f"{len(chosen)} {word} ({names}{_smallest(chosen, outcome, gate)})")
    return f"The gate {gate}: of {count(len(rows), 'row')}, {', '.join(phrases)}."


def _smallest(rows: Sequence[Row], outcome: str, gate: Gate) -> str:
    """The smallest difference that rows without a regression could have shown, in words."""
    compared = [row for row in rows if row["verdict"] not in ("identical", None)]
    if outcome != "inconclusive" or not compared:
        return ""
    sizes = [size for row in compared if (size := score_of(row, "detectable_metric_difference")) is not None]
    if len(sizes) < len(compared):
        return "; with so few seeds or examples even the largest possible difference would often be missed"
    return f"; the smallest difference that could be seen is {_size(fixed(max(sizes), decimals_of(rows[0])), rows)}"
