"""The test score against a setting that varies: depth, noise on the test images, labels, learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from relubench.reports.figures.declaration import Figure, Panel, Rule, Scale, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row
from relubench.reports.scores import TEST_KEYS, score_of

DEPTH = re.compile(r"(?P<family>[a-z]+)-(?P<depth>\d+)x(?P<width>\d+)")
"""A network of equally wide layers: mlp-5x200, resmlp-5x200."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the score is drawn against."""

    name: str
    title: str
    label: str
    scale: Scale
    of: Callable[[Row], tuple[str, float] | None]
    """Gives the panel of a row and its value; None for a row that has none."""
    reading: str


def _depth(row: Row) -> tuple[str, float] | None:
    match = DEPTH.fullmatch(str(row.get("model", "")))
    if match is None:
        return None
    kinds = {"mlp": "plain layers", "resmlp": "residual layers"}
    return kinds.get(match["family"], match["family"]), float(match["depth"])


def _noise(row: Row) -> tuple[str, float] | None:
    return None if row.get("test_noise") is None else ("", float(row["test_noise"]))


DEPTHS = Setting(
    "depth",
    "How deep each activation still learns",
    "hidden layers",
    "log",
    _depth,
    "Each line is an activation; where it rises to the level of guessing the network no longer learns at that depth.",
)
NOISE = Setting(
    "noise",
    "How each activation bears noise on the test images",
    "standard deviation of the noise",
    "linear",
    _noise,
    "Each network was trained once, on clean images. A line that rises later bears more noise.",
)


def depth_figure(source: FigureSource) -> Figure | None:
    """Error against depth by activation, a panel each for plain and residual layers."""
    return _figure(source, DEPTHS)


def noise_figure(source: FigureSource) -> Figure | None:
    """Error against the noise on the test images."""
    return _figure(source, NOISE)


def _figure(source: FigureSource, setting: Setting) -> Figure | None:
    placed = [
        (*place, row)
        for row in source.rows
        if "activation" in row and score_of(row, TEST_KEYS[0]) is not None and (place := setting.of(row)) is not None
    ]
    values = sorted({value for _, value, _ in placed})
    if len(values) < 2:
        return None
    panels = []
    for name in dict.fromkeys(name for name, _, _ in placed):
        rows = [(value, row) for of_panel, value, row in placed if of_panel == name]
        panels.append(
            Panel(
                title=name,
                x_label=setting.label,
                y_label=source.score_label(),
                x_scale=setting.scale,
                x_ticks=values,
                series=[line for key in source.keys if (line := _line(key, rows))],
                rules=_chance(source),
                from_zero=True,
            )
        )
    return Figure(
        name=setting.name,
        title=setting.title,
        subject=source.subject,
        reading=f"{setting.reading} A vertical line is the 95 % interval.",
        panels=panels,
        keys=source.keys,
    )


def _line(key: str, rows: Sequence[tuple[float, Row]]) -> Series | None:
    of_key = sorted(((value, row) for value, row in rows if row["activation"] == key), key=lambda pair: pair[0])
    if not of_key:
        return None
    scores = [[_number(score_of(row, name)) for _, row in of_key] for name in TEST_KEYS]
    values = [value for value, _ in of_key]
    return Series(label=key, key=key, x=values, y=scores[0], low=scores[1], high=scores[2])


def _chance(source: FigureSource) -> list[Rule]:
    """The level of guessing, as far as a run that stalled tells it."""
    stalled = [run.test_score for run in source.runs if run.outcome == "stalled" and run.test_score is not None]
    return [Rule(at=max(stalled), text="guessing")] if stalled else []


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
