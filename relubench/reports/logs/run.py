"""What is logged of a run: its settings, its curves and its final numbers, from the records of a report. Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relubench.reports.figures.source import source_of
from relubench.reports.frames import MEASURED, curve_rows, run_rows
from relubench.reports.report import Report, Row
from relubench.runs.result import RunResult, Timing
from relubench.runs.task import task_of

Settings = dict[str, str | int | float | bool]
CURVES = {
    "train_loss": "train/loss",
    "epoch_lr": "train/lr",
    "valid_loss": "valid/loss",
    "probe_zeros_pct": "hidden/zeros_pct",
    "probe_dead_pct": "hidden/dead_pct",
}
"""Key of a curve's row -> the name of its curve in a log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedPoint:
    """The numbers of one epoch."""

    epoch: int
    seconds: float | None
    """Since training began; None for a run without a clock."""
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedRun:
    """A run as logs have it."""

    id: str
    name: str
    """Activation or variant, and seed: for people."""
    outcome: str
    settings: Settings
    points: list[LoggedPoint]
    final: dict[str, float]
    finished: float | None
    """Seconds since 1970; None for a run without a clock."""
    seconds: float


def logged_runs(report: Report) -> list[LoggedRun]:
    """The trained networks of a report, in its order, each once."""
    source = source_of(report)
    runs = {run.id: run for run in source.runs}
    return [_logged(run, source.timings.get(name)) for name, run in runs.items()]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested settings under names with dots; lists are text, and what is not set is left out."""
    flat: Settings = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{key}.")
        elif isinstance(value, str | int | float):
            flat[prefix + key] = value
        elif value is not None:
            flat[prefix + key] = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return flat


def file_name(run: LoggedRun) -> str:
    """The run's name as a folder has it, told apart by its id."""
    return f"{re.sub(r'[^A-Za-z0-9.=+-]+', '_', run.name).strip('_')}-{run.id}"


def _logged(run: RunResult, timing: Timing | None) -> LoggedRun:
    clocks = {run.id: timing}
    metric = task_of(run.spec).metric
    (row,) = run_rows([run], clocks)
    names = CURVES | {"valid_score": f"valid/{metric}"} | {value.name: f"hidden/{value.name}" for value in run.measured}
    final = {"test_score": f"final/test_{metric}", "valid_score": f"final/valid_{metric}", "seconds": "final/seconds"}
    final |= {key: f"final/{key}" for key in MEASURED}
    variant = str(run.spec.get("variant") or "")
    parts = [str(run.spec.get("activation", "")), variant, f"seed {run.spec.get('seed')}"]
    return LoggedRun(
        id=run.id,
        name=", ".join(part for part in parts if part),
        outcome=run.outcome,
        settings=flat_settings(run.spec),
        points=[_point(point, names) for point in curve_rows([run], clocks)],
        final=_numbers(row, final),
        finished=datetime.fromisoformat(timing.finished).timestamp() if timing else None,
        seconds=timing.seconds if timing else 0.0,
    )


def _point(row: Row, names: Mapping[str, str]) -> LoggedPoint:
    return LoggedPoint(epoch=row["epoch"], seconds=row["epoch_seconds"], values=_numbers(row, names))


def _numbers(row: Row, names: Mapping[str, str]) -> dict[str, float]:
    """The finite numbers of a row under their names in a log."""
    values = {name: row.get(key) for key, name in names.items()}
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
