"""What a command has to say: rows for machines, columns for people, the lines around them. It knows no format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relubench.reports.formatting import (
    bracket,
    count,
    duration,
    fixed,
    short,
    signed,
    signed_bracket,
    verdict_parts,
    verdict_width,
)
from relubench.reports.training.gradients import power
from relubench.reports.training.summary import Summary
from relubench.runs.result import RunResult, Timing
from relubench.statistics.error_rates import IN_A_SMOKE_TEST, Mask, pack_mask

Row = dict[str, Any]

MANY_DEAD_PCT = 10.0
"""From this share of dead units in a row on, the column of them is the last to leave."""


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
    about: Row = field(default_factory=dict)
    """What JSON says of the whole, beside its fixed keys: the preset and its scale."""
    human_rows: list[Row] | None = None
    """What the columns are given where a line for people is not a row: several rows in one, say."""
    title: str = ""
    caption: str = ""
    """What all rows share, in one line under the title."""
    footnotes: Sequence[str] = ()
    sentence: str = ""

    @property
    def display_rows(self) -> list[Row]:
        """A line of the table each."""
        return self.rows if self.human_rows is None else self.human_rows


def run_records(
    results: Sequence[RunResult], timings: Mapping[str, Timing | None], mask_of: Callable[[RunResult], Mask | None]
) -> list[Row]:
    """The runs as JSON carries them: with their timing, and which test examples were wrong, so that files compare."""
    records = []
    for result in results:
        timing, mask = timings.get(result.id), mask_of(result)
        records.append(
            {
                **result.to_json(),
                "timing": timing.to_json() if timing else None,
                "test_wrong": None if mask is None else pack_mask(mask),
            }
        )
    return records


def training_report(
    summary: Summary,
    *,
    version: str,
    device: str | None,
    runs: Sequence[Row] = (),
    command: str = "train",
) -> Report:
    """The report of a summary: its columns, with whatever all rows share said once above the table."""
    rows = summary.json_rows()
    return Report(
        command=command,
        version=version,
        device=device,
        rows=rows,
        runs=list(runs),
        columns=training_columns(rows, summary.against),
        title=_title(summary, rows, device),
        caption=_caption(summary, rows),
        footnotes=summary.footnotes,
        sentence=summary.sentence,
    )


def training_columns(rows: Sequence[Row], against: str = "") -> list[Column]:
    """The columns that say something: those that are empty or the same in every row are left out.

    `against`: what rows are compared with, if it was named; else the first row is.
    """
    places = [_key_column("dataset"), _key_column("model"), _key_column("pretraining")]
    base_names = (
        [against] if against else [row["activation"] for row in rows if row["difference_pct"] is None and row["n"]]
    )
    header = f"vs {base_names[0]}" if len(set(base_names)) == 1 and len(base_names[0]) <= 20 else "vs first"
    settings = [
        Column(header="lr", parts=lambda row: [short(row["lr"])], leaves=7),
        _key_column("init", leaves=6),
        Column(header="parameters", parts=lambda row: [short(row["parameters"])], leaves=3),
        Column(header="epochs", parts=lambda row: [short(row["epochs"])], leaves=2),
    ]
    keys = list(rows[0]) if rows else []
    # The variant's label says what its rows have in common.
    settings = [setting for setting in settings if "variant" not in keys or setting.header != "init"]
    has_l1 = "l1" in keys and "variant" not in keys
    varied = [Column(header="l1", parts=lambda row: [f"{row['l1']:g}"])] if has_l1 else []
    varied += [Column(header="noise", parts=lambda row: [f"{row['test_noise']:g}"])] if "test_noise" in keys else []
    columns = [
        _key_column("activation"),
        *([_key_column("variant")] if "variant" in keys else []),
        *(column for column in (*places, *settings) if _varies(column, rows)),
        *varied,
        *(column for column in [Column(header="n", parts=lambda row: [str(row["n"])])] if _varies(column, rows)),
        *([_outcome()] if any(row["outcome"] != "ok" for row in rows) else []),
        *_result_columns(header, rows),
    ]
    return [column for column in columns if any("".join(column.parts(row)) for row in rows)]


def listing_columns(rows: Sequence[Row]) -> list[Column]:
    """A column for each key of the rows, in order of appearance; the first is the name."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [_listing_column(key, rows) for key in keys]


def _result_columns(against: str, rows: Sequence[Row]) -> list[Column]:
    # Where many units are dead, that is what the table is about.
    many_dead = any((row["dead_units_pct"] or 0.0) >= MANY_DEAD_PCT for row in rows)
    return [
        Column(header="test error %", parts=_error),
        Column(header=against, parts=difference_cell(rows), style=_difference_style),
        *(_gradients() if rows and "gradient_ratio" in rows[0] else []),
        Column(header="zeros %", parts=lambda row: [fixed(row["sparsity_pct"], 1)], leaves=5),
        Column(header="dead %", parts=lambda row: [fixed(row["dead_units_pct"], 1)], leaves=11 if many_dead else 4),
        Column(header="time", parts=lambda row: [duration(row["seconds"])], leaves=8),
        Column(header="published", parts=_reference("published"), style=_verdict_style("published"), leaves=10),
        Column(header="article", parts=_reference("article"), style=_verdict_style("article"), leaves=9),
    ]


def _gradients() -> list[Column]:
    return [
        Column(header="gradient 1st/last", parts=lambda row: [power(row["gradient_ratio"])]),
        Column(header="trained", parts=lambda row: [power(row["gradient_ratio_trained"])], leaves=6),
        Column(header="article's bound", parts=lambda row: [power(row["article_gradient_bound"])], leaves=7),
    ]


def _error(row: Row) -> list[str]:
    interval = bracket(row["test_error_ci_low_pct"], row["test_error_ci_high_pct"])
    return [part for part in (fixed(row["test_error_pct"]), interval) if part]


def difference_cell(rows: Sequence[Row], key: str = "difference_verdict") -> Callable[[Row], list[str]]:
    """What a cell says of a row's difference: its size, its interval and its word, of which `key` is the name."""
    width = verdict_width(row[key] for row in rows)

    def parts(row: Row) -> list[str]:
        if row["difference_pct"] is None:
            return []
        interval = signed_bracket(row["difference_ci_low_pct"], row["difference_ci_high_pct"])
        return [signed(row["difference_pct"]), interval, *verdict_parts(row[key], width)]

    return parts


def _reference(source: str) -> Callable[[Row], list[str]]:
    """The source's error, and the verdict where it is the one that the verdict is against."""

    def parts(row: Row) -> list[str]:
        value = fixed(row[f"{source}_error_pct"])
        return [value, *row["verdict"].split()] if value and _carries_verdict(row, source) else [value]

    return parts


def _carries_verdict(row: Row, source: str) -> bool:
    """The published value does, and the article's where there is no other."""
    return row["verdict"] is not None and (source == "published" or row["published_error_pct"] is None)


def _verdict_style(source: str) -> Callable[[Row], str]:
    styles = {"reproduced": "green", "better": "cyan", "worse": "red"}
    return lambda row: styles.get(row["verdict"] or "", "dim") if _carries_verdict(row, source) else "dim"


def _outcome() -> Column:
    return Column(header="outcome", parts=lambda row: [row["outcome"]], right=False, style=_outcome_style)


def _outcome_style(row: Row) -> str:
    return "" if row["outcome"] == "ok" else "yellow"


def _difference_style(row: Row) -> str:
    word = (row["difference_verdict"] or "").split(" ")[0]
    if (row["difference_verdict"] or "").endswith(IN_A_SMOKE_TEST):
        return "dim"
    return {"lower": "green", "higher": "red", "noise": "dim"}.get(word, "")


def _key_column(key: str, leaves: int = 0) -> Column:
    return Column(header=key, parts=lambda row: [short(row[key])], right=False, leaves=leaves)


def _listing_column(key: str, rows: Sequence[Row]) -> Column:
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
