"""The command line's work from Python: the same configuration, runs and rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from relubench.errors import WARNING, ComputeError, UsageError
from relubench.experiments.config import ExperimentConfig, contradictions, experiment
from relubench.experiments.pretraining_plan import PRETRAIN_DEFAULTS
from relubench.experiments.sections import Method
from relubench.experiments.study import Study
from relubench.reports.render import render
from relubench.reports.report import Report
from relubench.reports.training.pretraining import pretraining_report
from relubench.reports.training.study import study_report
from relubench.runs.result import RunResult
from relubench.system.paths import user_path


@dataclass(frozen=True, slots=True)
class Results:
    """A finished experiment: its rows, its runs, and its table (text when printed, HTML in a notebook)."""

    config: ExperimentConfig
    report: Report
    runs: list[RunResult]
    masks: dict[str, np.ndarray]
    """Run id -> which test examples that run got wrong, bool [N]."""
    tuned: list[Tuning] = field(default_factory=list)
    """What `lr="auto"` found for each activation."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an activation, with the keys of `--format json`."""
        return self.report.rows

    def to_records(self) -> list[dict[str, Any]]:
        """Copies of the rows, as pandas.DataFrame takes them."""
        return [dict(row) for row in self.report.rows]

    def plot(self, path: str | Path) -> None:
        """Draw the learning curves into a .png, .svg or .pdf file."""
        from relubench.reports.plots.learning_curves import plot_curves
        from relubench.runs.result import Timing

        by_id = {run["id"]: run["timing"] for run in self.report.runs}
        timings = {key: Timing.from_json(value) if value else None for key, value in by_id.items()}
        plot_curves(self.runs, timings, user_path(path), self.tuned)

    def __repr__(self) -> str:
        return render(self.report, "table", colour=False)

    def _repr_html_(self) -> str:
        from tabulate import tabulate

        cells = [["\n".join(column.parts(row)) for column in self.report.columns] for row in self.rows]
        table = tabulate(cells, [column.header for column in self.report.columns], tablefmt="html")
        notes = [self.report.sentence, *self.report.footnotes]
        lines = "".join(f"<p>{_escape(line)}</p>" for line in notes if line)
        return f"<p><b>{_escape(self.report.title)}</b><br>{_escape(self.report.caption)}</p>{table}{lines}"


def train(
    act: str | Sequence[str] | None = None,
    *,
    dataset: str | None = None,
    model: str | None = None,
    seeds: int | Sequence[int] | None = None,
    protocol: Literal["paper", "modern"] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | Literal["auto"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
) -> Results:
    """What `relubench train` computes; finished runs come from the store unless `fresh`.

    `seeds` is a number of seeds or the seeds themselves. `settings` is the long tail, nested as in the configuration:
    `{"train": {"momentum": 0.9}, "model": {"norm": "batch"}}`. Raises RelubenchError with the command's message and
    hint for whatever the command would refuse, and ComputeError if nothing could be computed.
    """
    named: dict[str, Any] = {
        "act": (act,) if isinstance(act, str) else act,
        "seeds": range(seeds) if isinstance(seeds, int) else seeds,
        "device": device,
        "data": {"name": dataset},
        "model": {"name": model},
        "train": {"protocol": protocol, "epochs": epochs, "batch_size": batch_size, "lr": lr},
    }
    config = _configuration({}, settings or {}, named)
    return _computed(config, data_dir, runs_dir, fresh, study_report)


def pretrain(
    act: str | Sequence[str] | None = None,
    *,
    method: Method | Sequence[Method] | None = None,
    pretrain_epochs: int | None = None,
    pretrain_lr: float | Literal["auto"] | None = None,
    control: bool | None = None,
    dataset: str | None = None,
    model: str | None = None,
    seeds: int | Sequence[int] | None = None,
    protocol: Literal["paper", "modern"] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | Literal["auto"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
) -> Results:
    """What `relubench pretrain` computes: every activation pre-trained by each `method`, compared with the first.

    By default that is none and rbm, of sigmoid, tanh, relu and softplus; `control` adds rows that start from the
    pre-trained weights shuffled. The rest is as in `train`, and `settings` may have a section more:
    `{"pretrain": {"k": 5}}`.
    """
    named: dict[str, Any] = {
        "act": (act,) if isinstance(act, str) else act,
        "seeds": range(seeds) if isinstance(seeds, int) else seeds,
        "device": device,
        "data": {"name": dataset},
        "model": {"name": model},
        "train": {"protocol": protocol, "epochs": epochs, "batch_size": batch_size, "lr": lr},
        "pretrain": {"epochs": pretrain_epochs, "lr": pretrain_lr, "control": control},
    }
    if method is not None:
        named["pretrain"]["methods"] = (method,) if isinstance(method, str) else tuple(method)
    config = _configuration(PRETRAIN_DEFAULTS, settings or {}, named)
    return _computed(config, data_dir, runs_dir, fresh, pretraining_report)


def _configuration(
    defaults: Mapping[str, Any], settings: Mapping[str, Any], named: Mapping[str, Any]
) -> ExperimentConfig:
    asked = _given(named)
    for key, value, other in contradictions(settings, asked):
        raise UsageError(f"{key} is given twice: {value!r} and {other!r}", "leave one of them out")
    return experiment(defaults, settings, asked)


def _computed(
    config: ExperimentConfig,
    data_dir: str | Path | None,
    runs_dir: str | Path | None,
    fresh: bool,
    report: Callable[[Study], Report],
) -> Results:
    said: list[str] = []
    study = Study.open(
        config,
        data_dir=user_path(data_dir) if data_dir is not None else None,
        runs_dir=user_path(runs_dir) if runs_dir is not None else None,
        fresh=fresh,
        note=said.append,
    )
    _warn(said)
    failures = [f"{event.message} ({event.hint})" for event in study.run() if event.kind == "failed"]
    _warn(said)
    finished = [result for result in study.results if result.outcome != "failed"]
    if not finished:
        raise ComputeError(f"none of the {study.total} runs could be computed", "; ".join(dict.fromkeys(failures)))
    masks = {result.id: mask for result in finished if (mask := study.wrong(result)) is not None}
    return Results(config, report(study), study.results, masks, study.tuned)


def _warn(lines: list[str]) -> None:
    """Raises each line that begins with WARNING as a Python warning where `train` was called; then empties `lines`."""
    for line in lines:
        if line.startswith(WARNING):
            # Past _warn, _computed, and train or pretrain: the user's own line.
            warnings.warn(line.removeprefix(WARNING), stacklevel=4)
    lines.clear()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left at None."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        inner = _given(value) if isinstance(value, Mapping) else tuple(value) if isinstance(value, range) else value
        if inner is not None and inner != {}:
            kept[key] = inner
    return kept


def _escape(text: str) -> str:
    import html

    return html.escape(text)
