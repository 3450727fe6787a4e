"""Gradient norm against hidden layer, before and after training: a panel for each network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.training.gradients import BOUND, BOUNDED, has_gradients, layers_at
from relubench.runs.result import RunResult

KEYS = ("variant", "dataset", "model", "init")
MOST_PANELS, MOST_TICKS = 12, 6


def gradients_figure(source: FigureSource) -> Figure | None:
    """Norms of the loss's gradient in each layer's outputs; None where no run looked at gradients."""
    if not has_gradients(source.runs):
        return None
    probed = [run for run in source.runs if norms(run, 0) is not None]
    varied = [key for key in KEYS if len({run.spec.get(key, "") for run in probed}) > 1]
    varied = ["variant"] if "variant" in varied else varied
    by_panel: dict[str, list[RunResult]] = {}
    for run in probed:
        by_panel.setdefault(", ".join(str(run.spec.get(key, "")) for key in varied), []).append(run)
    panels = [_panel(title, runs) for title, runs in list(by_panel.items())[:MOST_PANELS]]
    if not panels:
        return None
    return Figure(
        name="gradients",
        title="How much of the gradient is left in each layer",
        subject=source.subject,
        reading="Solid: before training; dashed: after the last epoch. A line that falls to the left is a gradient "
        "that vanishes on its way to the first layer. The black line is the article's bound for sigmoid, a factor of "
        "0.25 for each layer that the gradient passes.",
        panels=panels,
        keys=list(dict.fromkeys(str(run.spec["activation"]) for run in source.runs)),
    )


def norms(run: RunResult, epoch: int) -> NDArray[np.float64] | None:
    """The norm in each hidden layer's outputs after that epoch; nan where it is 0 or unknown; None where all are."""
    values = np.array([probe.activation_gradient or np.nan for probe in layers_at(run, epoch)], dtype=np.float64)
    return values if np.isfinite(values).any() else None


def _panel(title: str, runs: Sequence[RunResult]) -> Panel:
    series: list[Series] = []
    for activation in dict.fromkeys(str(run.spec["activation"]) for run in runs):
        of_activation = [run for run in runs if run.spec["activation"] == activation]
        start = _mean([norms(run, 0) for run in of_activation])
        end = _mean([norms(run, run.epochs) for run in of_activation if run.epochs])
        if start is not None:
            series.append(_line(activation, activation, start))
        if end is not None:
            series.append(_line("after the last epoch", activation, end, dashed=True))
        if start is not None and activation == BOUNDED and len(start) > 1:
            layers = np.arange(1, len(start) + 1)
            bound = start[-1] * BOUND ** (len(start) - layers)
            series.append(_line("article's bound for sigmoid", "", bound))
    depth = max((len(line.x) for line in series), default=1)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, depth) if depth / step <= MOST_TICKS or step == depth)
    return Panel(
        title=title,
        x_label="hidden layer",
        y_label="norm of the gradient",
        y_scale="log",
        x_ticks=[float(layer) for layer in dict.fromkeys((1, *range(step, depth + 1, step)))],
        series=series,
    )


def _line(label: str, key: str, values: NDArray[np.float64], *, dashed: bool = False) -> Series:
    x = [float(layer) for layer in range(1, len(values) + 1)]
    return Series(label=label, key=key, x=x, y=values.tolist(), dashed=dashed)


def _mean(curves: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """The geometric mean over the runs that have norms."""
    numbers = [curve for curve in curves if curve is not None]
    return np.exp(np.mean(np.log(numbers), axis=0)) if numbers else None
