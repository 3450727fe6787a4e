"""What a command has to say: rows for machines, columns for people, the lines around them. It knows no format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relubench.reports.cells import bracket, count, duration, fixed, short, signed, signed_bracket
from relubench.reports.summary import Summary

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column for people: what each row's cell says."""

    header: str
    parts: Callable[[Row], Sequence[str]]
    """The cell's text in parts, which may stand under each other where the line is too narrow for all."""
    right: bool = True
    """Numbers are set to the right, words to the left."""
    leaves: int = 0
    """In which order columns leave a table that is too wide: 1 first; 0 stays."""
    style: Callable[[Row], str] = lambda row: ""
    """A rich style for the cell; never the only carrier of a meaning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A command's result: `rows` and `runs` with their keys for machines, `columns` for people."""

    command: str
    version: str
    device: str | None
    rows: list[Row]
    columns: Sequence[Column]
    runs: list[Row] = field(default_factory=list)
    title: str = ""
    caption: str = ""
    """What all rows share, in one line under the title."""
    footnotes: Sequence[str] = ()
    sentence: str = ""


def training_report(
    summary: Summary,
    *,
    version: str,
    device: str | None,
    runs: Sequence[Row] = (),
    command: str = "train",
    against: str | None = None,
) -> Report:
    """The report of a summary: its columns, with whatever all rows share said once above the table.

    `against`: what the differences are to, where that is not the first row's activation.
    """
    rows = summary.json_rows()
    return Report(
        command=command,
        version=version,
        device=device,
        rows=rows,
        runs=list(runs),
        columns=training_columns(rows, against),
        title=_title(summary, rows, device),
        caption=_caption(summary, rows),
        footnotes=summary.footnotes,
        sentence=summary.sentence,
    )


def training_columns(rows: Sequence[Row], against: str | None = None) -> list[Column]:
    """The columns that say something: those that are empty or the same in every row are left out."""
    places = [_plain("dataset"), _plain("model"), _plain("pretraining")]
    firsts = [row["activation"] for row in rows if row["difference_pct"] is None and row["n"]]
    if against is None:
        against = firsts[0] if len(set(firsts)) == 1 and len(firsts[0]) <= 12 else "first"
    settings = [
        Column(header="lr", parts=lambda row: [short(row["lr"])], leaves=7),
        _plain("init", leaves=6),
        Column(header="parameters", parts=lambda row: [short(row["parameters"])], leaves=3),
        Column(header="epochs", parts=lambda row: [short(row["epochs"])], leaves=2),
    ]
    varied = [Column(header="l1", parts=lambda row: [f"{row['l1']:g}"])] if rows and "l1" in rows[0] else []
    columns = [
        _plain("activation"),
        *(column for column in (*places, *settings) if _varies(column, rows)),
        *varied,
        *(column for column in [Column(header="n", parts=lambda row: [str(row["n"])])] if _varies(column, rows)),
        *([_outcome()] if any(row["outcome"] != "ok" for row in rows) else []),
        *_measured(f"vs {against}"),
    ]
    return [column for column in columns if any("".join(column.parts(row)) for row in rows)]


def listing_columns(rows: Sequence[Row]) -> list[Column]:
    """A column for each key of the rows, in order of appearance; the first is the name."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [_listed(key, rows) for key in keys]


def _measured(against: str) -> list[Column]:
    return [
        Column(header="test error %", parts=_error),
        Column(header=against, parts=_difference, style=_verdict_style),
        Column(header="zeros %", parts=lambda row: [fixed(row["sparsity_pct"], 1)], leaves=5),
        Column(header="dead %", parts=lambda row: [fixed(row["dead_units_pct"], 1)], leaves=4),
        Column(header="time", parts=lambda row: [duration(row["seconds"])], leaves=8),
        Column(header="published", parts=lambda row: [fixed(row["published_error_pct"])], leaves=10),
        Column(header="article", parts=lambda row: [fixed(row["article_error_pct"])], leaves=9),
    ]


def _error(row: Row) -> list[str]:
    interval = bracket(row["test_error_ci_low_pct"], row["test_error_ci_high_pct"])
    return [part for part in (fixed(row["test_error_pct"]), interval) if part]


def _difference(row: Row) -> list[str]:
    if row["difference_pct"] is None:
        return []
    interval = signed_bracket(row["difference_ci_low_pct"], row["difference_ci_high_pct"])
    return [signed(row["difference_pct"]), interval, f"{row['verdict'] or '':<6}"]


def _outcome() -> Column:
    return Column(header="outcome", parts=lambda row: [row["outcome"]], right=False, style=_outcome_style)


def _outcome_style(row: Row) -> str:
    return "" if row["outcome"] == "ok" else "yellow"


def _verdict_style(row: Row) -> str:
    return {"lower": "green", "higher": "red", "noise": "dim"}.get(row["verdict"] or "", "")


def _plain(key: str, leaves: int = 0) -> Column:
    return Column(header=key, parts=lambda row: [short(row[key])], right=False, leaves=leaves)


def _listed(key: str, rows: Sequence[Row]) -> Column:
    numbers = all(isinstance(row.get(key), int | float | None) and not isinstance(row.get(key), bool) for row in rows)
    return Column(header=key.replace("_", " "), parts=lambda row: [short(row.get(key))], right=numbers)


def _varies(column: Column, rows: Sequence[Row]) -> bool:
    return len({"".join(column.parts(row)) for row in rows}) > 1


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
    return " · ".join(str(one) for one in parts if one)


def _epochs(epochs: float | None) -> str | None:
    return None if epochs is None else f"{short(epochs)} epoch{'' if epochs == 1 else 's'}"


def _protocol(facts: dict[str, Any]) -> str | None:
    """The protocol's name, and all that was set otherwise than it says."""
    if not facts.get("protocol"):
        return None
    changed = ", ".join(facts.get("departures", ()))
    return f"{facts['protocol']} protocol, but {changed}" if changed else f"{facts['protocol']} protocol"


def _caption(summary: Summary, rows: Sequence[Row]) -> str:
    """Learning rate, initialisation, penalty, parameters and epochs where they are the same for all rows."""
    shared = {key: {row[key] for row in rows} for key in ("lr", "init", "parameters", "epochs")}
    one = {key: next(iter(values)) for key, values in shared.items() if len(values) == 1}
    l1 = summary.facts.get("l1")
    parts = [
        f"lr {short(one['lr'])}" if one.get("lr") is not None else None,
        f"init {one['init']}" if one.get("init") is not None else None,
        f"L1 {l1:g}" if isinstance(l1, int | float) and l1 else None,
        f"{short(one['parameters'])} parameters" if one.get("parameters") is not None else None,
        _epochs(one.get("epochs")),
    ]
    text = ", ".join(part for part in parts if part)
    return f"the same for all: {text}" if text and len(rows) > 1 else text
