"""The test score of every row with its interval: which differ, and where published numbers lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from relubench.reports.figures.declaration import Figure, Panel, Scale, Series
from relubench.reports.figures.source import FigureSource, row_key, row_label
from relubench.reports.report import Row
from relubench.reports.scores import TEST_KEYS, score_of

MOST_ROWS = 60


def scores_figure(source: FigureSource) -> Figure | None:
    """A dot with its 95 % interval for each row; None without a row that has a score."""
    rows = [row for row in source.rows if "activation" in row and score_of(row, TEST_KEYS[0]) is not None]
    if not rows or len(rows) > MOST_ROWS:
        return None
    parts = replace(source, rows=rows).by_task
    better = dict.fromkeys(("lower" if part.task.lower_is_better else "higher", part.task.noun) for part in parts)
    words = " and ".join(f"{word} {noun}" if len(better) > 1 else word for word, noun in better)
    verb = "are" if len(better) > 1 else "is"
    return Figure(
        name="scores",
        title=f"Test {source.noun} of each network",
        subject=source.subject,
        reading=f"A dot is the mean over seeds, its line the 95 % interval; {words} {verb} better. Two intervals may "
        "overlap although the rows differ: the paired difference in the table decides.",
        panels=[_panel(part, has_title=len(parts) > 1) for part in parts],
        keys=source.keys,
    )


def _panel(source: FigureSource, *, has_title: bool) -> Panel:
    """The rows of one task; with a title, where it has one data set."""
    rows = source.rows
    datasets = dict.fromkeys(str(row.get("dataset")) for row in rows)
    labels = [row_label(row, rows) for row in rows]
    series = [
        _series(rows, [place for place, row in enumerate(rows) if row_key(row, source) == key], key, labels)
        for key in source.keys
    ]
    series += [series for name in ("published", "article") if (series := _reference(rows, name, labels))]
    return Panel(
        title="".join(datasets) if has_title and len(datasets) == 1 else "",
        x_label=source.score_label(),
        y_label="",
        x_scale=_scale(source),
        series=[entry for entry in series if entry.x],
        categories=labels,
    )


def _series(rows: Sequence[Row], places: Sequence[int], key: str, labels: Sequence[str]) -> Series:
    values = [[_number(score_of(rows[place], name)) for place in places] for name in TEST_KEYS]
    return Series(
        label=key,
        key=key,
        x=values[0],
        y=[float(place) for place in places],
        low=values[1],
        high=values[2],
        mark="points",
        names=[labels[place] for place in places],
    )


def _reference(rows: Sequence[Row], source: str, labels: Sequence[str]) -> Series | None:
    """Rings at the numbers of a source, where rows have any."""
    places = [place for place, row in enumerate(rows) if row.get(f"{source}_error_pct") is not None]
    if not places:
        return None
    return Series(
        label="the paper's number" if source == "published" else "the article's number",
        key="",
        x=[float(rows[place][f"{source}_error_pct"]) for place in places],
        y=[float(place) for place in places],
        mark="points",
        hollow=True,
        names=[labels[place] for place in places],
    )


def _scale(source: FigureSource) -> Scale:
    """That of the means, unless an interval reaches 0."""
    scores = [[score for row in source.rows if (score := score_of(row, name)) is not None] for name in TEST_KEYS]
    return source.score_scale(scores[0]) if min(map(min, filter(None, scores))) > 0 else "linear"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
