"""Differences to the first row with their intervals, a panel for each data set: where does the activation matter?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relubench.reports.plots.figure import COLOURS, save
from relubench.reports.scores import better_direction, score_of
from relubench.runs.task import task_of

Row = Mapping[str, Any]
PANEL_INCHES = 2.9


def has_several_tasks(rows: Sequence[Row]) -> bool:
    """Whether the table has scores of several tasks, of which no axis holds all."""
    return len({row.get("task") for row in rows}) > 1


def plot_differences(rows: Sequence[Row], path: Path) -> None:
    """Draws each row's difference in its score, with the interval, beside the others of its data set.

    Each panel has its metric's own axis. A difference whose interval leaves zero out has a full mark.
    """
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row["dataset"], row["model"]), []).append(row)
    height = 1.2 + 0.32 * max(len(panel) for panel in panels.values())
    figure = Figure(figsize=(PANEL_INCHES * len(panels), height), layout="constrained")
    for place, ((dataset, _), panel) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        axes.set_title(dataset, fontsize="medium")
        axes.axvline(0.0, color="0.5", linewidth=0.8)
        for y, row in enumerate(panel):
            _draw_row(axes, y, row)
        axes.set_yticks(range(len(panel)), [row["activation"] for row in panel])
        axes.set_ylim(len(panel) - 0.5, -0.5)
        task, better = task_of(panel[0]), better_direction(panel[0])
        unit = f" ({task.difference_unit})" if task.difference_unit else ""
        side = {"lower": "\n← better", "higher": "\nbetter →"}.get(better or "", "")
        axes.set_xlabel(f"test {task.noun} less {panel[0]['activation']}'s{unit}{side}", fontsize="small")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _draw_row(axes: Any, y: int, row: Row) -> None:
    difference = score_of(row, "metric_difference")
    low, high = (score_of(row, f"metric_difference_ci_{end}") for end in ("low", "high"))
    if difference is None or low is None or high is None:
        axes.plot(0.0, y, "|", color="0.3", markersize=10)
        return
    is_noise = low <= 0 <= high
    colour = COLOURS[0] if not is_noise else "0.55"
    axes.plot([low, high], [y, y], color=colour, linewidth=1.6)
    axes.plot(difference, y, "o", color=colour, markersize=6, markerfacecolor="white" if is_noise else colour)
