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
from relubench.reports.report import Report, Row, record_digest
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
SIZES = ("elements", "batch")
"""Numbers of a row of timings that say what was timed."""
NO_NAMES = ("outcome", "message", "verdict", "ratio_to", "elements")
"""Keys of a row of timings that say what came of it, or repeat its words: no part of its name."""


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
    """The trained networks of a report, in its order, each once; of timings each row, too."""
    source = source_of(report)
    runs = {run.id: run for run in source.runs}
    networks = [_logged(run, source.timings.get(name)) for name, run in runs.items()]
    return networks + [_timed(row) for row in source.rows if report.command == "speed"]


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


def run_name(spec: Mapping[str, Any]) -> str:
    """The activation, the variant and the seed of a run, from its specification."""
    parts = [str(spec.get("activation", "")), str(spec.get("variant") or ""), f"seed {spec.get('seed')}"]
    return ", ".join(part for part in parts if part)


def file_name(name: str, run: str) -> str:
    """The name of a run as a folder has it, told apart by the run's id."""
    return f"{re.sub(r'[^A-Za-z0-9.=+-]+', '_', name).strip('_')}-{run}"


def _logged(run: RunResult, timing: Timing | None) -> LoggedRun:
    clocks = {run.id: timing}
    metric = task_of(run.spec).metric
    (row,) = run_rows([run], clocks)
    names = CURVES | {"valid_score": f"valid/{metric}"} | {value.name: f"hidden/{value.name}" for value in run.measured}
    final = {"test_score": f"final/test_{metric}", "valid_score": f"final/valid_{metric}", "seconds": "final/seconds"}
    final |= {key: f"final/{key}" for key in MEASURED}
    return LoggedRun(
        id=run.id,
        name=run_name(run.spec),
        outcome=run.outcome,
        settings=flat_settings(run.spec),
        points=[_point(point, names) for point in curve_rows([run], clocks)],
        final=_numbers(row, final),
        finished=datetime.fromisoformat(timing.finished).timestamp() if timing else None,
        seconds=timing.seconds if timing else 0.0,
    )


def _timed(row: Row) -> LoggedRun:
    """A row of timings: its words and sizes are settings, its other numbers the result."""
    settings = {key: value for key, value in row.items() if isinstance(value, str) or key in SIZES}
    words = [str(value) for key, value in settings.items() if key not in NO_NAMES and value]
    numbers = {key: f"speed/{key}" for key, value in row.items() if key not in settings and is_number(value)}
    return LoggedRun(
        id=record_digest(row)[:16],
        name=", ".join(words),
        outcome=str(row.get("outcome", "ok")),
        settings=flat_settings(settings),
        points=[],
        final=_numbers(row, numbers),
        finished=None,
        seconds=0.0,
    )


def is_number(value: object) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _point(row: Row, names: Mapping[str, str]) -> LoggedPoint:
    return LoggedPoint(epoch=row["epoch"], seconds=row["epoch_seconds"], values=_numbers(row, names))


def _numbers(row: Row, names: Mapping[str, str]) -> dict[str, float]:
    """The finite numbers of a row under their names in a log."""
    values = {name: row.get(key) for key, name in names.items()}
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
