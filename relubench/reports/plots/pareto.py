"""Error against time: the lowest validation error of each activation so far, and the front of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relubench.reports.plots.figure import LOG_SPREAD, line_style, save, style_axes
from relubench.reports.report import Row
from relubench.runs.task import CLASSIFICATION, Task, task_called

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_pareto(
    points: Sequence[Row],
    front: Sequence[Row],
    target: float | None,
    path: Path,
    *,
    title: str,
    task: Task | None = None,
) -> None:
    """Writes the figure: a stepped line for each activation, the Pareto front as a band behind them.

    `points` and `front` have the keys of Point.to_json; `target` is the score that times are compared at, and `task`
    says what scores are (None: errors in percent).
    """
    task = task or task_called(CLASSIFICATION)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    _front(axes, points, front)
    _lines(axes, points)
    if target is not None:
        axes.axhline(target, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            f"target {task.text(target)}", (0.01, target), xycoords=("axes fraction", "data"), ha="left", va="bottom"
        )
    _scales(axes, [point["valid_metric"] for point in points], task)
    style_axes(axes)
    figure.legend(loc="outside lower center", ncols=6, fontsize="small", frameon=False)
    axes.set_title(title, fontsize="medium")
    save(figure, path)


def _front(axes: Axes, points: Sequence[Row], front: Sequence[Row]) -> None:
    """Draws the front as a band behind the lines, as far as the longest of them goes."""
    end = max(point["seconds"] for point in points)
    steps = [(point["seconds"], point["valid_metric"]) for point in front]
    axes.plot(
        *zip(*steps, (end, steps[-1][1]), strict=True),
        drawstyle="steps-post",
        color="0.75",
        linewidth=7,
        solid_capstyle="butt",
        label="Pareto front",
        zorder=0,
    )


def _lines(axes: Axes, points: Sequence[Row]) -> None:
    """Draws a stepped line for each activation: its lowest error so far against time."""
    for place, name in enumerate(dict.fromkeys(point["activation"] for point in points)):
        line_points = [point for point in points if point["activation"] == name]
        axes.plot(
            [point["seconds"] for point in line_points],
            [point["valid_metric"] for point in line_points],
            label=name,
            **line_style(place),
            drawstyle="steps-post",
            linewidth=1.6,
            marker="o",
            markersize=3,
        )


def _scales(axes: Axes, errors: Sequence[float], task: Task) -> None:
    """Time is logarithmic; so is the error where it spreads far."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    plain = FuncFormatter(lambda value, place: f"{value:g}")
    axes.set_xscale("log")
    is_logarithmic = min(errors) > 0 and max(errors) / min(errors) >= LOG_SPREAD
    if is_logarithmic:
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis) if is_logarithmic else (axes.xaxis,):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training time in s, validation left out (logarithmic)")
    unit = f", {task.unit}" if task.unit else ""
    axes.set_ylabel(f"{task.best} validation {task.noun} so far{unit}" + (" (logarithmic)" if is_logarithmic else ""))
