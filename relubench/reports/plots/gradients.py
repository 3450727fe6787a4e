"""Gradient norm against hidden layer, on a logarithmic axis: a panel for each network, a line for each activation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relubench.errors import ComputeError
from relubench.reports.formatting import count
from relubench.reports.plots.figure import COLOURS, DASHES, save, style_axes
from relubench.reports.training.gradients import BOUND, BOUNDED, layers_at
from relubench.runs.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
MOST_COLUMNS = 5
WIDE, HIGH = 3.0, 2.7
"""Inches of a panel."""


def plot_gradients(results: Sequence[RunResult], path: Path) -> None:
    """Writes the figure to `path` as png, svg or pdf, by its suffix.

    A line is the geometric mean over seeds of the norm of an image's loss's gradient in each hidden layer's outputs:
    solid before training, dashed after the last epoch; dotted is the article's bound for sigmoid, 0.25 a layer from its
    last one down. What is exactly 0 in float32 is not drawn. Raises ComputeError if no run looked at gradients or the
    file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    panels = _panels(results)
    if not panels:
        raise ComputeError("no run has gradient norms to plot", "see why in the table")
    columns = _columns(len(panels))
    rows = -(-len(panels) // columns)
    size = (max(6.0, WIDE * columns), max(4.2, HIGH * rows + 1.0))
    figure = Figure(figsize=size, layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    acts = list(dict.fromkeys(result.spec["activation"] for result in results))
    looks = {act: (COLOURS[place % len(COLOURS)], place // len(COLOURS)) for place, act in enumerate(acts)}
    for place, axes in enumerate(all_axes):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        title, runs = panels[place]
        _panel(axes, runs, looks)
        axes.set_title(title, fontsize="small")
        if place % columns == 0:
            axes.set_ylabel("gradient in the outputs (norm)", fontsize="small")
        if place + columns >= len(panels):
            axes.set_xlabel("hidden layer", fontsize="small")
    _share_heights(list(zip(all_axes, [runs for _, runs in panels], strict=False)))
    handles = _key(looks, with_bound=BOUNDED in acts)
    figure.legend(handles=handles, loc="outside lower center", ncols=2 + columns, frameon=False, fontsize="small")
    figure.suptitle(_title(results), fontsize="medium")
    save(figure, path)


def _columns(panels: int) -> int:
    divisors = [number for number in range(MOST_COLUMNS, 2, -1) if panels % number == 0]
    return panels if panels <= MOST_COLUMNS else divisors[0] if divisors else MOST_COLUMNS - 1


def _panels(results: Sequence[RunResult]) -> list[tuple[str, list[RunResult]]]:
    """Runs by what a panel stands for: the variant, else whatever of model and data set differs."""
    probed_runs = [result for result in results if norms(result, 0) is not None]
    keys = [
        key
        for key in ("variant", "dataset", "model", "init")
        if len({run.spec.get(key, "") for run in probed_runs}) > 1
    ]
    # A variant's label says all of that.
    keys = ["variant"] if "variant" in keys else keys
    panels: dict[str, list[RunResult]] = {}
    for run in probed_runs:
        panels.setdefault(", ".join(str(run.spec.get(key, "")) for key in keys), []).append(run)
    return list(panels.items())


def norms(run: RunResult, epoch: int) -> Values | None:
    """The norm in each hidden layer's outputs after that epoch; nan where it is 0 or unknown; None where all are."""
    values = np.array([probe.activation_gradient or np.nan for probe in layers_at(run, epoch)], dtype=np.float64)
    return values if np.isfinite(values).any() else None


def _panel(axes: Axes, runs: Sequence[RunResult], looks: dict[str, tuple[str, int]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for act, (colour, repetition) in looks.items():
        runs_of_act = [run for run in runs if run.spec["activation"] == act]
        start = _mean([norms(run, 0) for run in runs_of_act])
        end = _mean([norms(run, run.epochs) for run in runs_of_act if run.epochs])
        marker: dict[str, Any] = {"marker": ("o", "s", "^")[repetition % 3], "markersize": 3}
        if start is not None:
            layers = np.arange(1, len(start) + 1)
            axes.plot(layers, start, color=colour, linewidth=1.5, **marker)
            if act == BOUNDED and len(start) > 1:
                axes.plot(layers, start[-1] * BOUND ** (len(start) - layers), ":", color="0.35", linewidth=1.4)
        if end is not None:
            axes.plot(np.arange(1, len(end) + 1), end, DASHES[1], color=colour, linewidth=1.1, alpha=0.8)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes)
    axes.tick_params(which="both", labelsize="x-small")


def _share_heights(panels: Sequence[tuple[Axes, Sequence[RunResult]]]) -> None:
    """Panels of equally many layers have one axis: deep networks would flatten the others."""
    by_depth: dict[int, list[Axes]] = {}
    for axes, runs in panels:
        by_depth.setdefault(max(len(layers_at(run, 0)) for run in runs), []).append(axes)
    for depth, same_depth in by_depth.items():
        limits = [axes.get_ylim() for axes in same_depth]
        for axes in same_depth:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
            axes.set_xlim(0.5, depth + 0.5)


def _mean(curves: Sequence[Values | None]) -> Values | None:
    """The geometric mean over the runs that have norms."""
    numbers = [curve for curve in curves if curve is not None]
    return np.exp(np.mean(np.log(numbers), axis=0)) if numbers else None


def _key(looks: dict[str, tuple[str, int]], *, with_bound: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2, label=act) for act, (colour, _) in looks.items()]
    handles.append(Line2D([], [], color="0.3", linewidth=1.5, marker="o", markersize=3, label="before training"))
    handles.append(Line2D([], [], color="0.3", linestyle=DASHES[1], linewidth=1.1, label="after the last epoch"))
    if with_bound:
        words = "article's bound for sigmoid: 0.25 a layer"
        handles.append(Line2D([], [], color="0.35", linestyle=":", linewidth=1.4, label=words))
    return handles


def _title(results: Sequence[RunResult]) -> str:
    """What all runs share."""
    parts = []
    for key in ("dataset", "model", "init"):
        values = {result.spec.get(key) for result in results}
        parts += [str(value) for value in values if len(values) == 1]
    seeds = len({result.spec["seed"] for result in results})
    return " · ".join([*parts, f"gradient norm by layer, {count(seeds, 'seed')}"])
