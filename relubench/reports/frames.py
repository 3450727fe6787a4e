"""A result as data frames: one row for each run, one for each of its epochs. Without pandas they are lists of rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from relubench.reports.report import Row
from relubench.runs.result import RunResult, Timing

NAMES = ("activation", "variant", "dataset", "model", "pretraining", "seed", "lr", "init", "l1")
"""Keys of a specification that name a run."""
MEASURED = ("sparsity_pct", "near_zeros_pct", "dead_units_pct", "parameters", "epochs", "best_epoch")


def names_of(run: RunResult) -> Row:
    """The names of the run: its id, and what it is a run of."""
    return {"run": run.id, **{name: run.spec.get(name) for name in NAMES}}


def run_rows(runs: Sequence[RunResult], timings: dict[str, Timing | None]) -> list[Row]:
    """One row for each run: its names, scores, zeros, dead units and seconds."""
    rows = []
    for run in runs:
        timing = timings.get(run.id)
        scores = {"outcome": run.outcome, "test_score": run.test_score, "valid_score": run.valid_score}
        measured = {name: getattr(run, name) for name in MEASURED}
        at_best = {value.name: value.value for value in run.measured if value.epoch == run.best_epoch}
        rows.append({**names_of(run), **scores, **measured, "seconds": timing and timing.seconds, **at_best})
    return rows


def curve_rows(runs: Sequence[RunResult], timings: dict[str, Timing | None]) -> list[Row]:
    """One row for each epoch of each run: losses, validation score, rate, seconds, zeros and dead units."""
    rows = []
    for run in runs:
        timing = timings.get(run.id)
        seconds = timing.epoch_seconds if timing else []
        for point in run.curve:
            losses = {"train_loss": point.train_loss, "valid_loss": point.valid_loss, "valid_score": point.valid_score}
            clock = seconds[point.epoch - 1] if point.epoch <= len(seconds) else None
            measured = {value.name: value.value for value in run.measured if value.epoch == point.epoch}
            rate = {"epoch": point.epoch, **losses, "epoch_lr": point.lr, "epoch_seconds": clock}
            rows.append({**names_of(run), **rate, **_probed(run, point.epoch), **measured})
    return rows


def _probed(run: RunResult, epoch: int) -> Row:
    """The means over the hidden layers of what was looked at after the epoch; None where nothing was."""
    probes = [probe for probe in run.probes if probe.epoch == epoch]
    zeros = [probe.zeros_pct for probe in probes if probe.zeros_pct is not None]
    dead = [100 * probe.dead / probe.units for probe in probes if probe.dead is not None]
    return {
        "probe_zeros_pct": sum(zeros) / len(zeros) if zeros else None,
        "probe_dead_pct": sum(dead) / len(dead) if dead else None,
    }


def frame(rows: list[Row]) -> Any:
    """The rows as a pandas.DataFrame where pandas is installed, else as they are."""
    if importlib.util.find_spec("pandas") is None:
        return rows
    return importlib.import_module("pandas").DataFrame(rows)
