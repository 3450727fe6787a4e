"""The answer of a choice: score against training time with the Pareto front, and each one's difference to the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series, scale_of
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row

MOST_PLACES = 4
"""Data sets with their networks that are drawn."""
LEFT = ("best", "not told apart")


def choice_figure(source: FigureSource) -> Figure | None:
    """Two panels for each data set and network, without those that nothing is known of; None without any."""
    if source.command != "choose":
        return None
    places = list(dict.fromkeys((row["dataset"], row["model"]) for row in source.rows))
    panels: list[Panel] = []
    for dataset, model in places[:MOST_PLACES]:
        rows = [row for row in source.rows if (row["dataset"], row["model"]) == (dataset, model)]
        title = f"{dataset} · {model}" if len(places) > 1 else ""
        panels += [panel for panel in (_front(source, rows, title), _differences(source, rows, title)) if panel]
    if not panels:
        return None
    return Figure(
        name="choice",
        title="What each activation costs, and whether it is as good as the best",
        subject=source.title,
        reading="A dot against time is an activation that can still be the best, a ring one that is out; the dashed "
        "line joins those that no other one beats in both. A difference has the interval of the table: on the test set "
        "where it is confirmed, else on the validation data; 0 is the best one itself.",
        panels=panels,
        keys=source.keys,
    )


def _front(source: FigureSource, rows: Sequence[Row], title: str) -> Panel | None:
    """Validation score against training time; None where no activation has both."""
    timed = [row for row in rows if row["training_us_per_example"] is not None and row["valid_metric"] is not None]
    if not timed:
        return None
    points = [
        Series(
            label=row["activation"],
            key=row["activation"],
            x=[row["training_us_per_example"]],
            y=[row["valid_metric"]],
            mark="points",
            hollow=row["standing"] not in LEFT,
            names=[row["activation"]],
        )
        for row in timed
    ]
    sign = 1.0 if source.task.lower_is_better else -1.0
    front: list[tuple[float, float]] = []
    for x, y in sorted((row["training_us_per_example"], sign * row["valid_metric"]) for row in timed):
        if not front or y < front[-1][1]:
            front.append((x, y))
    line = Series(
        label="front",
        key="",
        x=[x for x, _ in front],
        y=[sign * y for _, y in front],
        mark="steps",
        dashed=True,
    )
    return Panel(
        x_label="training time (µs an example)",
        y_label=source.score_label("validation"),
        title=title,
        y_scale=scale_of([row["valid_metric"] for row in timed]),
        series=[*points, *([line] if len(front) > 1 else [])],
        point_names=True,
    )


def _differences(source: FigureSource, rows: Sequence[Row], title: str) -> Panel | None:
    """Each activation's difference to the best, with its interval; None before the first look."""
    compared = [row for row in rows if row["standing"] == "best" or _difference(row) is not None]
    if len(compared) < 2:
        return None
    names = [row["activation"] for row in compared]
    series = []
    for place, row in enumerate(compared):
        middle, low, high = _difference(row) or (0.0, math.nan, math.nan)
        name = row["activation"]
        hollow = row["standing"] not in LEFT
        series.append(
            Series(
                label=name,
                key=name,
                x=[middle],
                y=[float(place)],
                low=[low],
                high=[high],
                mark="points",
                hollow=hollow,
                names=[name],
            )
        )
    unit = f" ({source.task.difference_unit})" if source.task.difference_unit else ""
    return Panel(
        x_label=f"{source.task.noun} less that of the best{unit}",
        y_label="",
        title=title,
        series=series,
        categories=names,
        rules=[Rule(at=0.0, text="", vertical=True)],
    )


def _difference(row: Row) -> tuple[float, float, float] | None:
    """The difference to the best with the ends of its interval: on the test set where it is confirmed."""
    kind = "test" if row["test_difference"] is not None else "valid"
    if row[f"{kind}_difference"] is None:
        return None
    return tuple(row[f"{kind}_difference{end}"] for end in ("", "_ci_low", "_ci_high"))
