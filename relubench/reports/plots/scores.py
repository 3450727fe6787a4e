"""Test scores side by side: a line for each row of a table, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relubench.errors import ComputeError, UsageError
from relubench.reports.plots.figure import COLOURS, SUFFIXES, save, style_axes
from relubench.reports.report import Row
from relubench.runs.task import task_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_scores(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Writes the figure: each row's test metric with its 95 % interval, and beside it the difference to its baseline.

    A row in colour has an interval of its difference that does not hold zero. Raises UsageError for another suffix than
    png, svg or pdf, ComputeError if no row has a score or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = f"end the file's name in {', '.join(SUFFIXES)}"
        raise UsageError(f"cannot plot to {path.name!r}: its suffix names no format that is known here", hint)
    scored = [row for row in rows if row["test_metric"] is not None]
    if not scored:
        raise ComputeError("no row has a test score to plot", "see why with `relubench runs show ID`")
    from matplotlib.figure import Figure

    task = task_of(scored[0])
    figure = Figure(figsize=(9.5, 1.5 + 0.34 * len(scored)), layout="constrained")
    scores, differences = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(scored):
        _interval(scores, place, row, "test_metric", task.text(row["test_metric"]))
        if row["metric_difference"] is not None:
            text = f"{row['metric_difference']:+.{task.decimals}f}"
            _interval(differences, place, row, "metric_difference", text)
    differences.axvline(0.0, color="0.6", linewidth=0.9, linestyle="--", zorder=1)
    scores.set_yticks(range(len(scored)), [_label(row) for row in scored])
    scores.set_ylim(len(scored) - 0.5, -0.7)
    better = "lower is better" if task.lower_is_better else "higher is better"
    scores.set_xlabel(f"test {task.noun}{f', {task.unit}' if task.unit else ''} ({better})")
    differences.set_xlabel(f"difference to the baseline{f', {task.difference_unit}' if task.difference_unit else ''}")
    for axes in (scores, differences):
        style_axes(axes)
    figure.suptitle(f"{title}: 95 % intervals; in colour: the difference is more than noise", fontsize="medium")
    save(figure, path)


def _interval(axes: Axes, place: int, row: Row, key: str, text: str) -> None:
    """A dot at the row's value with a bar for its interval, and the value above it."""
    colour = COLOURS[0] if _differs(row) else "0.35"
    low, high = row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, zorder=2)
    axes.plot([row[key]], [place], "o", color=colour, markersize=6, zorder=3)
    above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
    axes.annotate(text, (row[key], place), fontsize="x-small", color=colour, **above)


def _differs(row: Row) -> bool:
    """Whether the interval of the row's difference does not hold zero."""
    low, high = row["metric_difference_ci_low"], row["metric_difference_ci_high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def _label(row: Row) -> str:
    return " · ".join(str(row[key]) for key in ("variant", "activation") if row.get(key))
