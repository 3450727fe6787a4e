"""What a figure shows, as plain values: panels of series. It knows no drawing library. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mark = Literal["line", "points", "steps"]
"""line: points joined; points: each alone; steps: joined by steps, as of a value that holds until the next one."""
Scale = Literal["linear", "log", "log2"]


LOG_SPREAD = 4.0
"""From this ratio of the highest to the lowest score on, the axis of scores is logarithmic."""


def scale_of(scores: Sequence[float]) -> Scale:
    """Logarithmic where a network that did not learn would press all the others together."""
    return "log" if scores and min(scores) > 0 and max(scores) / min(scores) >= LOG_SPREAD else "linear"


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line or cloud of points; its colour follows from `key`."""

    label: str
    key: str
    """The activation, or what else has a colour of its own; empty for a mark that belongs to none of them."""
    x: Sequence[float]
    y: Sequence[float]
    """Missing is nan."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    """The interval of each point, along the axis of the scores; empty, or as many as there are points."""
    mark: Mark = "line"
    band: bool = False
    """Whether the intervals are one band rather than a bar at each point."""
    dashed: bool = False
    hollow: bool = False
    """Whether the points are rings: numbers that somebody else measured."""
    names: Sequence[str] = ()
    """What each point is called in words; empty, or as many as there are points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A thin line across a panel at one value, with its name."""

    at: float
    text: str
    vertical: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One pair of axes."""

    x_label: str
    y_label: str
    series: Sequence[Series]
    title: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    x_ticks: Sequence[float] = ()
    """Where the horizontal axis has its marks; empty: where they fall."""
    x_tick_texts: Sequence[str] = ()
    categories: Sequence[str] = ()
    """Names from top to bottom; a point's y is then the place of its name, and intervals lie along x."""
    rules: Sequence[Rule] = ()
    y_range: tuple[float, float] | None = None
    """The ends of the vertical axis, where panels beside each other share it."""
    end_names: bool = False
    """Whether lines are named where they end, too: those of one colour could not be told apart otherwise."""
    point_names: bool = False
    """Whether the name of each point stands beside it."""
    from_zero: bool = False
    """Whether the axis of the scores begins at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A picture that answers one question."""

    name: str
    """A name of FIGURES."""
    title: str
    subject: str
    """Data set, network and seeds, in one line."""
    reading: str
    """How to read it, in one or two sentences; a page and a screen reader have it."""
    panels: Sequence[Panel]
    keys: Sequence[str]
    """All keys of the study, in order: what gets a colour, also where this figure does not show it."""
