"""The test score against the zeros of each network: whether those with more of them are better."""

from __future__ import annotations

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.runs.result import RunResult


def zeros_and_scores_figure(source: FigureSource) -> Figure | None:
    """A point a network; None where no two activations have different zeros, and of several tasks."""
    runs = [run for run in source.runs if run.test_score is not None and run.sparsity_pct is not None]
    keys = [key for key in source.keys if any(source.key_of(run) == key for run in runs)]
    if len(keys) < 2 or len(source.by_task) > 1 or len({run.sparsity_pct for run in runs}) < 2:
        return None
    panel = Panel(
        x_label="zeros (% of the hidden outputs)",
        y_label=source.score_label(),
        y_scale=source.score_scale([run.test_score for run in runs if run.test_score is not None]),
        series=[_points(key, [run for run in runs if source.key_of(run) == key]) for key in keys],
    )
    return Figure(
        name="zeros-and-scores",
        title="Zeros and test score of each network",
        subject=source.subject,
        reading="A point is one network. Two groups at one height with few and with many zeros: the zeros are not what "
        "makes the difference. Two groups with the same zeros at two heights: it is something else.",
        panels=[panel],
        keys=source.keys,
    )


def _points(key: str, runs: list[RunResult]) -> Series:
    return Series(
        label=key,
        key=key,
        x=[run.sparsity_pct or 0.0 for run in runs],
        y=[run.test_score or 0.0 for run in runs],
        mark="points",
        names=[f"{key}, seed {run.spec['seed']}" for run in runs],
    )
