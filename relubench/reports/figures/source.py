"""What figures are made from: the rows of a report and its runs, as the JSON of a result has them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from relubench.reports.figures.declaration import Scale, scale_of
from relubench.reports.formatting import count
from relubench.reports.report import Report, Row
from relubench.runs.result import RunResult, Timing
from relubench.runs.task import CLASSIFICATION, TASKS, Task

ROW_NAMES = ("activation", "dataset", "model", "pretraining")
SETTINGS = ("variant", "dataset", "model", "pretraining", "l1_asked")
"""What tells the networks of one activation apart; runs that differ in none of these differ in their seed."""
RUN_KEYS = frozenset(field.name for field in fields(RunResult))


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureSource:
    """A result: its rows, and the trained networks among its runs with their clocks."""

    command: str
    rows: Sequence[Row]
    runs: Sequence[RunResult]
    timings: Mapping[str, Timing]
    records: Sequence[Row]
    """All runs as the JSON has them; those of `speed` are no trained networks."""
    about: Mapping[str, Any]
    title: str = ""
    tunings: Sequence[Row] = ()
    """What `--lr auto` found, as Report has it."""

    @property
    def keys(self) -> list[str]:
        """What has a colour of its own: the activations, or the variants where there is one activation only."""
        activations = list(dict.fromkeys(str(row["activation"]) for row in self.rows if "activation" in row))
        variants = self.variants
        return variants if len(activations) == 1 and len(variants) > 1 else activations

    @property
    def variants(self) -> list[str]:
        """The labels of the variants, in order; empty where there are none."""
        names = dict.fromkeys(str(run.spec.get("variant", "")) for run in self.runs)
        return [name for name in names if name]

    def key_of(self, run: RunResult) -> str:
        """The key whose colour a run has."""
        by_variant = len(self.variants) > 1 and len({row["activation"] for row in self.rows}) == 1
        return str(run.spec.get("variant", "")) if by_variant else str(run.spec["activation"])

    @property
    def task(self) -> Task:
        """What the networks were asked to do."""
        names = [str(row.get("task", CLASSIFICATION)) for row in self.rows]
        return TASKS.get(names[0] if names else CLASSIFICATION, TASKS[CLASSIFICATION])

    @property
    def by_task(self) -> list[FigureSource]:
        """The part of the result that each task has: scores of two tasks have no axis in common."""
        names = dict.fromkeys(str(row.get("task", CLASSIFICATION)) for row in self.rows)
        return [
            replace(
                self,
                rows=[row for row in self.rows if row.get("task", CLASSIFICATION) == name],
                runs=[run for run in self.runs if run.spec.get("task", CLASSIFICATION) == name],
            )
            for name in names
        ]

    @property
    def noun(self) -> str:
        """What the scores are called: 'error', of several tasks 'score'."""
        return self.task.noun if len(self.by_task) < 2 else "score"

    @property
    def subject(self) -> str:
        """What all runs share: data set, model, and the number of seeds."""
        parts = []
        for name in ("dataset", "model"):
            values = {str(run.spec.get(name)) for run in self.runs}
            parts += list(values) if len(values) == 1 else []
        seeds = len({run.spec.get("seed") for run in self.runs})
        return " · ".join([*parts, *([count(seeds, "seed")] if seeds else [])])

    def score_scale(self, scores: Sequence[float]) -> Scale:
        """The scale of an axis of scores; decibels are a logarithm already."""
        return "linear" if self.task.unit == "dB" else scale_of(scores)

    def score_label(self, kind: str = "test") -> str:
        """'test error (%)': the name of the axis of scores."""
        unit = f" ({self.task.unit})" if self.task.unit else ""
        return f"{kind} {self.task.noun}{unit}"


def source_of(report: Report) -> FigureSource:
    """What the figures of a report are made from."""
    names = report.names
    # A choice has runs of its search for rates too, and figures of trainings would mix them with the others.
    records = [] if report.command == "choose" else report.runs
    runs = [_named(run, names) for record in records if (run := _run(record)) is not None]
    timings = {
        record["id"]: Timing.from_json(record["timing"]) for record in records if record.get("timing") is not None
    }
    return FigureSource(
        command=report.command,
        rows=[named_row(row, names) for row in report.rows],
        runs=runs,
        timings=timings,
        records=records,
        about=report.about,
        title=report.title,
        tunings=[named_row(row, names) for row in report.tunings],
    )


def named_row(row: Row, names: Mapping[str, str]) -> Row:
    """The row with the name that the user gave its activation."""
    return {**row, "activation": names[row["activation"]]} if row.get("activation") in names else row


def _named(run: RunResult, names: Mapping[str, str]) -> RunResult:
    return replace(run, spec=named_row(run.spec, names))


def _run(record: Row) -> RunResult | None:
    """The trained network of a record; None where it is something else, or a later version's."""
    if not {"id", "spec", "curve"} <= record.keys():
        return None
    try:
        return RunResult.from_json({key: value for key, value in record.items() if key in RUN_KEYS})
    except (TypeError, KeyError):
        return None


def grouped(runs: Sequence[RunResult], *names: str) -> dict[tuple[str, ...], list[RunResult]]:
    """The runs by their values of these keys of the specification, in order of appearance."""
    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.spec.get(name, "")) for name in names), []).append(run)
    return groups


def settings_that_vary(runs: Sequence[RunResult]) -> list[str]:
    """Those of SETTINGS that tell networks of one activation apart, without what the variant's name says already."""
    varied = [name for name in SETTINGS if len({str(run.spec.get(name, "")) for run in runs}) > 1]
    if "variant" not in varied:
        return varied
    of_variants = grouped(runs, "variant").values()
    return [name for name in varied if name == "variant" or any(len(grouped(of, name)) > 1 for of in of_variants)]


def setting_word(name: str, value: str) -> str:
    """What a setting's value is called beside others: 'L1 0.01', 'pre-training rbm'."""
    if name == "pretraining":
        return "without pre-training" if value == "none" else f"pre-training {value}"
    return f"L1 {float(value):g}" if name == "l1_asked" else value


def row_label(row: Row, rows: Sequence[Row]) -> str:
    """What tells a row apart: its activation, and whatever else of its names differs between the rows."""
    varied = [name for name in ROW_NAMES if len({str(other_row.get(name)) for other_row in rows}) > 1]
    parts = [str(row[name]) for name in varied]
    parts += [f"L1 {row['l1']:g}"] if row.get("l1") is not None else []
    parts += [f"noise {row['test_noise']:g}"] if row.get("test_noise") is not None else []
    parts += [str(row["variant"])] if row.get("variant") else []
    parts = [part for part in parts if part != "none"]
    return ", ".join(parts) or str(row.get("activation", ""))


def row_key(row: Row, source: FigureSource) -> str:
    """The key whose colour a row has."""
    activation = str(row.get("activation", ""))
    return activation if activation in source.keys else str(row.get("variant") or activation)
