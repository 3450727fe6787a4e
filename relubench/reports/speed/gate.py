"""Times judged against those of a saved result: what became slower, what did not, and what could not be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relubench.errors import UsageError
from relubench.reports.formatting import count, join_names
from relubench.reports.gate import WORDS
from relubench.reports.report import Column, Report, Row, footnotes
from relubench.reports.saved import read_json
from relubench.statistics.speed_gate import SpeedGate

HINT = "give a file written by `relubench speed --format json`"

OPERATOR_NAMES = ("activation", "elements", "dtype", "mode", "pass")
NETWORK_NAMES = ("activation", "dataset", "model", "pretraining")
"""What rows of two results must have in common."""

MEASURES = ("ratio_to_relu", "epoch_ratio", "ns_per_element")
"""Keys that have an interval, the first that a row has counts: a ratio to the base of its own rounds before a time."""

Interval = tuple[float, float]


def read_speed_rows(path: Path) -> list[Row]:
    """The rows of a saved timing; raises UsageError for a file that holds none."""
    try:
        content = read_json(path)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON", HINT) from error
    rows = content.get("rows") if isinstance(content, dict) else None
    if not (isinstance(rows, list) and all(isinstance(row, dict) and "activation" in row for row in rows) and rows):
        raise UsageError(f"{path} holds no timing", HINT)
    if not any(_names(row) for row in rows):
        raise UsageError(f"{path} holds no timing of operators or networks", HINT)
    return rows


def gated_speed(report: Report, before: Sequence[Row], gate: SpeedGate) -> Report:
    """The timing with the gate's outcome in each row and in its sentence; raises UsageError where no row is in both."""
    earlier = {names: row for row in before if (names := _names(row))}
    rows = [_judged(row, earlier.get(_names(row) or ()), gate) for row in report.rows]
    judged = [row for row in rows if row["gate"] is not None]
    if not judged:
        raise UsageError("the baseline has no row of this timing", "time the same activations, sizes and passes")
    parts = []
    for outcome, word in WORDS.items():
        chosen = [row for row in judged if row["gate"] == outcome]
        if chosen:
            names = join_names(list(dict.fromkeys(row["activation"] for row in chosen)))
            parts.append(f"{len(chosen)} {word} ({names}{_smallest(chosen, outcome)})")
    column = Column(header="gate", cell=lambda row: [WORDS.get(row.get("gate") or "", "")], right=False)
    columns = [*report.columns, column] if report.human_rows is None else report.columns
    return replace(
        report,
        rows=rows,
        columns=columns,
        notes=[*report.notes, *footnotes([_note(gate)])],
        sentence=f"{report.sentence} The gate {gate}: of {count(len(judged), 'row')}, {', '.join(parts)}.".strip(),
    )


def has_slowed(report: Report) -> bool:
    """Whether a row of a gated timing is a regression."""
    return any(row.get("gate") == "regression" for row in report.rows)


def _names(row: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What names a row; None for a row of another kind."""
    for names in (OPERATOR_NAMES, NETWORK_NAMES):
        if all(name in row for name in names):
            return tuple(row[name] for name in names)
    return None


def _judged(row: Row, before: Row | None, gate: SpeedGate) -> Row:
    """The row with its change since the baseline, and the outcome; None where there is nothing to compare."""
    nothing = {"gate": None, "change": None, "change_ci_low": None, "change_ci_high": None}
    if before is None:
        return {**row, **nothing}
    for key in MEASURES:
        now, earlier = _interval(row, key), _interval(before, key)
        if now is None or earlier is None:
            continue
        low, high = now[0] / earlier[1], now[1] / earlier[0]
        change = round(row[key] / before[key], 6)
        ends = {"change_ci_low": round(low, 6), "change_ci_high": round(high, 6)}
        return {**row, "gate": gate.judge(low, high), "change": change, **ends}
    is_base = not any(_interval(side, key) for side in (row, before) for key in MEASURES)
    if is_base and row.get("outcome") == before.get("outcome") == "ok":
        # The base of networks' ratios: there is nothing to compare it with.
        return {**row, **nothing}
    has_failed = row.get("outcome") == "failed" and before.get("outcome") != "failed"
    return {**row, **nothing, "gate": "regression" if has_failed else "inconclusive"}


def _interval(row: Mapping[str, Any], key: str) -> Interval | None:
    values = [row.get(name) for name in (key, f"{key}_ci_low", f"{key}_ci_high")]
    numbers = [float(value) for value in values if isinstance(value, int | float) and value > 0]
    return (numbers[1], numbers[2]) if len(numbers) == len(values) else None


def _smallest(rows: Sequence[Row], outcome: str) -> str:
    """The smallest change that inconclusive rows could have shown, in words."""
    if outcome != "inconclusive":
        return ""
    widths = [row["change_ci_high"] / row["change"] - 1 for row in rows if row["change"] is not None]
    if len(widths) < len(rows):
        return "; without an interval nothing could be seen: give a larger --budget"
    return f"; the smallest change that could be seen is {100 * max(widths):.1f} %"


def _note(gate: SpeedGate) -> str:
    return (
        f"the gate {gate}: of the ratio to the base of its own rounds now, over that of the baseline (of the base "
        "itself: its time); regressed where all of the interval is beyond, passed where none is, inconclusive where "
        "part is"
    )
