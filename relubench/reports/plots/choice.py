"""The figure of a choice: score against training time, a point for each activation, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relubench.errors import ComputeError
from relubench.reports.plots.figure import COLOURS, save
from relubench.reports.report import Row
from relubench.runs.task import task_of


def plot_choice(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Draw score against training time into a file; raises ComputeError where no activation has both."""
    from matplotlib.figure import Figure

    points = [
        (row, row["training_us_per_example"], score)
        for row in rows
        if row["training_us_per_example"] is not None and (score := _score(row)) is not None
    ]
    if not points:
        raise ComputeError(f"--plot {path} was not written: no activation has a score and a time", "see the rows above")
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    for row, x, y in points:
        colour = COLOURS[0] if row["standing"] in ("best", "not told apart") else "0.6"
        low, high = (row[f"test_metric_ci_{end}"] for end in ("low", "high"))
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=colour, linewidth=1)
        axes.plot([x], [y], "o" if row["pareto"] else "x", color=colour)
        axes.annotate(row["activation"], (x, y), xytext=(4, 4), textcoords="offset points")
    task = task_of(rows[0])
    axes.set_xlabel("training, µs an example")
    axes.set_ylabel(f"{task.noun} {task.unit}".rstrip())
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _score(row: Row) -> float | None:
    """The test score where there is one, else the validation score."""
    return row["valid_metric"] if row["test_metric"] is None else row["test_metric"]
