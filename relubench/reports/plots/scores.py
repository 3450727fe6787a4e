"""Test scores side by side: a line for each row of a table, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relubench.errors import ComputeError, UsageError
from relubench.reports.plots.figure import COLOURS, SUFFIXES, save, style_axes
from relubench.reports.report import Row
from relubench.runs.task import task_of


def plot_scores(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Writes the figure: each row's test metric as a dot on its 95 % interval, the first row's as a band behind all.

    A row in colour has an interval of its difference to the first that does not hold zero. Raises UsageError for
    another suffix than png, svg or pdf, ComputeError if no row has a score or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = f"end the file's name in {', '.join(SUFFIXES)}"
        raise UsageError(f"cannot plot to {path.name!r}: its suffix names no format that is known here", hint)
    scored = [row for row in rows if row["test_metric"] is not None]
    if not scored:
        raise ComputeError("no row has a test score to plot", "see why with `relubench runs show ID`")
    from matplotlib.figure import Figure

    task = task_of(scored[0])
    figure = Figure(figsize=(7.5, 1.4 + 0.34 * len(scored)), layout="constrained")
    axes = figure.subplots()
    first = scored[0]
    if first["test_metric_ci_low"] is not None:
        axes.axvspan(first["test_metric_ci_low"], first["test_metric_ci_high"], color="0.92", zorder=0)
    axes.axvline(first["test_metric"], color="0.6", linewidth=0.9, linestyle="--", zorder=1)
    for place, row in enumerate(scored):
        colour = COLOURS[0] if _differs(row) else "0.35"
        if row["test_metric_ci_low"] is not None:
            axes.plot([row["test_metric_ci_low"], row["test_metric_ci_high"]], [place, place], color=colour, zorder=2)
        axes.plot([row["test_metric"]], [place], "o", color=colour, markersize=6, zorder=3)
        axes.annotate(
            task.text(row["test_metric"]), (row["test_metric"], place), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize="x-small", color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(scored)), [_label(row) for row in scored])
    axes.set_ylim(len(scored) - 0.5, -0.7)
    better = "lower is better" if task.lower_is_better else "higher is better"
    axes.set_xlabel(f"test {task.noun}{f', {task.unit}' if task.unit else ''} ({better}); bars: 95 % intervals")
    style_axes(axes)
    axes.set_title(f"{title}\nin colour: the difference to {_label(first)} is more than noise", fontsize="medium")
    save(figure, path)


def _differs(row: Row) -> bool:
    """Whether the interval of the row's difference does not hold zero."""
    low, high = row["metric_difference_ci_low"], row["metric_difference_ci_high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def _label(row: Row) -> str:
    return " · ".join(str(row[key]) for key in ("variant", "activation") if row.get(key))
