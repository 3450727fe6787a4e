"""Names within a drawing: of a thin line across it, of lines where they end, and of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relubench.reports.figures.declaration import Series
from relubench.reports.figures.looks import Look
from relubench.reports.plots.figure import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a drawing; a page puts its own in place of these."""

    ink: str = "#222222"
    faint: str = "#9a9a9a"
    colours: Sequence[str] = COLOURS
    ground: str = "white"


def name_rule(axes: Axes, at: float, text: str, theme: Theme, *, vertical: bool) -> None:
    """Writes the name of a thin line at its end."""
    where = (at, 0.99) if vertical else (0.01, at)
    # Beside a line near the right end there is no room at its right.
    pixels = axes.transData.transform((at, axes.get_ylim()[0]))
    is_right = vertical and axes.transAxes.inverted().transform(pixels)[0] > 0.6
    axes.annotate(
        text,
        where,
        xycoords=("data", "axes fraction") if vertical else ("axes fraction", "data"),
        xytext=(-3 if is_right else 3, -2) if vertical else (0, 2),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="top" if vertical else "bottom",
        fontsize="x-small",
        color=theme.ink,
    )


def name_ends(axes: Axes, lines: Sequence[Series], looks: Mapping[str, Look], theme: Theme) -> None:
    """Each line's name at its right, in the order of the ends, none on top of another."""
    to_share = axes.transAxes.inverted()
    ends = [(line, line.x[-1], line.y[-1]) for line in lines if len(line.x)]
    heights = [float(to_share.transform(axes.transData.transform((x, y)))[1]) for _, x, y in ends]
    order = sorted(range(len(ends)), key=lambda place: heights[place])
    for place, height in zip(order, apart([heights[place] for place in order]), strict=True):
        line, x, y = ends[place]
        colour = theme.colours[looks[line.key].colour] if line.key in looks else theme.ink
        arrow: dict[str, Any] = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 2}
        axes.annotate(
            line.label,
            xy=(x, y),
            xytext=(1.05, height),
            textcoords="axes fraction",
            color=theme.ink,
            fontsize="small",
            va="center",
            arrowprops={**arrow, "relpos": (0, 0.5)},
            annotation_clip=False,
        )


def name_points(axes: Axes, clouds: Sequence[Series], theme: Theme) -> None:
    """Each point's name at its upper right, for which the axis is longer."""
    axes.margins(x=0.2)
    for cloud in clouds:
        for x, y, name in zip(cloud.x, cloud.y, cloud.names or [""] * len(cloud.x), strict=True):
            axes.annotate(name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize="small", color=theme.ink)


def apart(heights: Sequence[float], gap: float = 0.055) -> list[float]:
    """Rising heights, 0 to 1, moved until none is nearer to the next than `gap`: half upwards, half downwards."""
    gap = min(gap, 1 / len(heights))
    above, below = list(heights), list(heights)
    for place in range(1, len(heights)):
        above[place] = max(above[place], above[place - 1] + gap)
        below[-place - 1] = min(below[-place - 1], below[-place] - gap)
    middle = [(up + down) / 2 for up, down in zip(above, below, strict=True)]
    shift = max(0.0, -middle[0]) - max(0.0, middle[-1] - 1)
    return [height + shift for height in middle]
