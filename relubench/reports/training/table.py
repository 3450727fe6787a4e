"""The report of a training table: its columns for people, and what all rows share said once above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relubench.reports.formatting import count, short
from relubench.reports.questions import training_question
from relubench.reports.report import Column, Report, Row
from relubench.reports.training.columns import COLUMNS
from relubench.reports.training.display_columns import change_column, measured_column
from relubench.reports.training.summary import Summary
from relubench.training.probes.table import PROBES

EXCHANGED = {
    "score at exchange": ("before_exchange", "after_exchange"),
    "zeros at exchange %": ("zeros_before_exchange_pct", "zeros_after_exchange_pct"),
}
"""Header -> what was measured before and after one activation took the place of another, in one column."""


def training_report(
    summary: Summary, *, device: str | None, runs: Sequence[Row] = (), command: str = "train"
) -> Report:
    """The report of a summary: its columns, with whatever all rows share said once above the table."""
    rows = summary.json_rows()
    return Report(
        command=command,
        device=device,
        rows=rows,
        runs=list(runs),
        columns=training_columns(rows, summary.against),
        title=_title(summary, rows, device),
        caption=_caption(summary, rows),
        notes=summary.notes,
        sentence=summary.sentence,
        question=training_question(rows),
        against=summary.against,
    )


def training_columns(rows: Sequence[Row], against: str = "") -> list[Column]:
    """The columns that say something: those that are empty or the same in every row are left out.

    `against`: what rows are compared with, if it was named; else the first row is.
    """
    if not rows:
        return []
    keys = sorted(COLUMNS, key=lambda key: key.place)
    makers = [key.column for key in keys if key.column is not None]
    makers += [measured_column(name) for row in PROBES.values() for name in row.measures]
    makers += [change_column(before, after, header) for header, (before, after) in EXCHANGED.items()]
    columns = [maker(rows, against) for maker in makers]
    return [column for column in columns if column is not None and any("".join(column.cell(row)) for row in rows)]


def _title(summary: Summary, rows: Sequence[Row], device: str | None) -> str:
    """Data set, model, pre-training, protocol, seeds and device, as far as they are one."""
    facts = summary.facts
    pretraining = facts.get("pretraining", "none")
    seeds = {row["n"] for row in rows}
    parts = [
        facts.get("dataset"),
        facts.get("model"),
        None if pretraining == "none" else f"pretrained: {pretraining}",
        _protocol(facts),
        count(summary.seeds, "seed") if seeds else None,
        device,
    ]
    return " · ".join(str(part) for part in parts if part)


def _epochs(epochs: float | None) -> str | None:
    return None if epochs is None else f"{short(epochs)} epoch{'' if epochs == 1 else 's'}"


def _protocol(facts: dict[str, Any]) -> str | None:
    """The protocol's name, and all that was set otherwise than it says."""
    if not facts.get("protocol"):
        return None
    deviations = ", ".join(facts.get("departures", ()))
    return f"{facts['protocol']} protocol, but {deviations}" if deviations else f"{facts['protocol']} protocol"


def _caption(summary: Summary, rows: Sequence[Row]) -> str:
    """Learning rate, initialisation, penalty, parameters and epochs where they are the same for all rows."""
    shared = {key: {row[key] for row in rows} for key in ("lr", "init", "parameters", "epochs")}
    common = {key: next(iter(values)) for key, values in shared.items() if len(values) == 1}
    l1 = summary.facts.get("l1_asked", summary.facts.get("l1"))
    scale = summary.facts.get("l1_scale", "sum")
    parts = [
        f"lr {short(common['lr'])}" if common.get("lr") is not None else None,
        f"init {common['init']}" if common.get("init") is not None else None,
        f"L1 {l1:g}{'' if scale == 'sum' else f' ({scale} scale)'}" if isinstance(l1, int | float) and l1 else None,
        f"{short(common['parameters'])} parameters" if common.get("parameters") is not None else None,
        _epochs(common.get("epochs")),
    ]
    text = ", ".join(part for part in parts if part)
    return f"the same for all: {text}" if text and len(rows) > 1 else text
