"""Differences to the row that is compared with, a panel for each data set: where does the activation matter?"""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row
from relubench.reports.scores import better_direction, score_of
from relubench.runs.task import task_of

KEYS = ("metric_difference", "metric_difference_ci_low", "metric_difference_ci_high")
MOST_PANELS = 12


def differences_figure(source: FigureSource) -> Figure | None:
    """A dot with its interval for each difference; None unless there are several tasks, whose scores share no axis."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in source.rows:
        panels.setdefault((str(row.get("dataset")), str(row.get("model"))), []).append(row)
    if len(source.by_task) < 2 or len(panels) > MOST_PANELS:
        return None
    return Figure(
        name="differences",
        title="How much the activation matters on each data set",
        subject=source.subject,
        reading="A dot is the difference to the first activation, which lies at 0, its line the interval. A ring is a "
        "difference whose interval holds 0: it may be noise. Each panel has its own score.",
        panels=[_panel(source, title, rows) for (title, _), rows in panels.items()],
        keys=source.keys,
    )


def _panel(source: FigureSource, title: str, rows: Sequence[Row]) -> Panel:
    task, better = task_of(rows[0]), better_direction(rows[0])
    unit = f" ({task.difference_unit})" if task.difference_unit else ""
    side = {"lower": "\n← better", "higher": "\nbetter →"}.get(better or "", "")
    base = next((row for row in rows if score_of(row, KEYS[0]) is None), rows[0])
    return Panel(
        title=title,
        x_label=f"test {task.noun} less {base['activation']}'s{unit}{side}",
        y_label="",
        series=[_point(row, place) for place, row in enumerate(rows)],
        categories=[str(row["activation"]) for row in rows],
        rules=[Rule(at=0.0, text="", vertical=True)],
    )


def _point(row: Row, place: int) -> Series:
    difference, low, high = (score_of(row, key) or 0.0 for key in KEYS)
    name = str(row["activation"])
    return Series(
        label=name,
        key=name,
        x=[difference],
        y=[float(place)],
        low=[low],
        high=[high],
        mark="points",
        hollow=low < 0 < high,
        names=[name],
    )
