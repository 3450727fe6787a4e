"""How many experts a mixture uses while it trains, and whether those that use more of them are better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.runs.result import RunResult

USED = "experts_used_pct"


def experts_figure(source: FigureSource) -> Figure | None:
    """A panel of the experts used by epoch, and one of the scores against them; None where no run has experts."""
    groups: dict[str, list[RunResult]] = {}
    for run in source.runs:
        parts = dict.fromkeys([source.key_of(run), str(run.spec.get("variant", ""))])
        groups.setdefault(", ".join(filter(None, parts)), []).append(run)
    mixtures = {label: runs for label, runs in groups.items() if any(experts_used(run) for run in runs)}
    if not mixtures:
        return None
    use = Panel(
        x_label="epoch",
        y_label="experts used (%)",
        series=[_by_epoch(source, label, runs) for label, runs in mixtures.items()],
        y_range=(0.0, 105.0),
        end_names=True,
    )
    first_of_key = {source.key_of(runs[0]): label for label, runs in reversed(mixtures.items())}.values()
    scores = [
        _scores(source, label, runs, hollow=label not in first_of_key)
        if label in mixtures
        else _without_experts(source, label, runs)
        for label, runs in groups.items()
        if any(run.test_score is not None for run in runs)
    ]
    panels = [use, Panel(x_label="experts used (%)", y_label=source.score_label(), series=scores)]
    return Figure(
        name="experts",
        title="How many experts are used, and what comes of it",
        subject=source.subject,
        reading="Experts used: exp of the entropy of their shares of the rows, over their number, the mean over "
        "blocks; 100 % where all get as many rows. A line is the mean over seeds, with the lowest and the highest. In "
        "the second panel a point is one network at its best epoch, a ring one of a second kind with experts, and a "
        "dashed line the mean of those without.",
        panels=panels,
        keys=source.keys,
    )


def experts_used(run: RunResult) -> dict[int, float]:
    """The experts that a run used, in percent, by epoch."""
    return {value.epoch: value.value for value in run.measured if value.name == USED and value.value is not None}


def _by_epoch(source: FigureSource, label: str, runs: Sequence[RunResult]) -> Series:
    used = [experts_used(run) for run in runs]
    epochs = sorted(set().union(*used))
    columns = [[values[epoch] for values in used if epoch in values] for epoch in epochs]
    return Series(
        label=label,
        key=source.key_of(runs[0]),
        x=[float(epoch) for epoch in epochs],
        y=[float(np.mean(column)) for column in columns],
        low=[min(column) for column in columns],
        high=[max(column) for column in columns],
        band=True,
    )


def _scores(source: FigureSource, label: str, runs: Sequence[RunResult], *, hollow: bool) -> Series:
    points = [
        (share, run.test_score, f"{label}, seed {run.spec['seed']}")
        for run in runs
        if run.test_score is not None and (share := experts_used(run).get(run.best_epoch or 0)) is not None
    ]
    return Series(
        label=label,
        key=source.key_of(runs[0]),
        x=[share for share, _, _ in points],
        y=[score for _, score, _ in points],
        mark="points",
        hollow=hollow,
        names=[name for _, _, name in points],
    )


def _without_experts(source: FigureSource, label: str, runs: Sequence[RunResult]) -> Series:
    mean = float(np.mean([run.test_score for run in runs if run.test_score is not None]))
    return Series(label=label, key=source.key_of(runs[0]), x=[0.0, 100.0], y=[mean, mean], dashed=True)
