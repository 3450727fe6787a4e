"""What an exchange of the activation does to a trained network: score and zeros before, just after, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.runs.result import RunResult

MOMENTS = ("before", "exchanged", "at the end")


def exchange_figure(source: FigureSource) -> Figure | None:
    """A panel of scores and one of zeros, a line an activation; None where no run exchanged one."""
    exchanged = [
        run for run in source.runs if measured(run, "after_exchange") is not None and run.test_score is not None
    ]
    if not exchanged:
        return None
    scores, zeros = _panel(source, exchanged, "", _score), _panel(source, exchanged, "zeros", _zeros)
    return Figure(
        name="exchange",
        title=f"What the exchange for {exchanged[0].spec['exchange']} does",
        subject=source.subject,
        reading="Each line is the mean over seeds, on the test part, with the lowest and the highest seed. A dashed "
        "line is the network that kept its activation to the end.",
        panels=[scores, zeros],
        keys=list(dict.fromkeys(str(run.spec["activation"]) for run in source.runs)),
    )


def measured(run: RunResult, name: str) -> float | None:
    """What the run measured under this name at its exchange; None where it had none."""
    return next((value.value for value in run.measured if value.name == name and value.at_exchange), None)


def _score(run: RunResult) -> tuple[float | None, ...]:
    return measured(run, "before_exchange"), measured(run, "after_exchange"), run.test_score


def _zeros(run: RunResult) -> tuple[float | None, ...]:
    names = ("zeros_before_exchange_pct", "zeros_after_exchange_pct")
    return *(measured(run, name) for name in names), run.sparsity_pct


def _panel(
    source: FigureSource,
    exchanged: Sequence[RunResult],
    what: str,
    values_of: Callable[[RunResult], tuple[float | None, ...]],
) -> Panel:
    series = []
    for activation in dict.fromkeys(str(run.spec["activation"]) for run in source.runs):
        runs = [run for run in exchanged if run.spec["activation"] == activation]
        unchanged_runs = [run for run in source.runs if run.spec["activation"] == activation and run not in exchanged]
        if runs:
            series.append(_line(activation, np.array([values_of(run) for run in runs], dtype=float)))
        ends = [run.sparsity_pct if what else run.test_score for run in unchanged_runs]
        if values := [value for value in ends if value is not None]:
            series.append(
                Series(
                    label=f"{activation} to the end",
                    key=activation,
                    x=[0.0, 2.0],
                    y=[float(np.mean(values))] * 2,
                    dashed=True,
                )
            )
    return Panel(
        x_label="the exchange",
        y_label="zeros (% of the hidden outputs)" if what else source.score_label(),
        series=series,
        x_ticks=[0.0, 1.0, 2.0],
        x_tick_texts=list(MOMENTS),
    )


def _line(activation: str, values: np.ndarray) -> Series:
    """Of values [run, moment]."""
    return Series(
        label=f"{activation}, then exchanged",
        key=activation,
        x=[0.0, 1.0, 2.0],
        y=np.nanmean(values, axis=0).tolist(),
        low=np.nanmin(values, axis=0).tolist(),
        high=np.nanmax(values, axis=0).tolist(),
    )
