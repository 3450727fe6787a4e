"""A panel as SVG for a page: its colours are the page's, its series can be switched, its points are known in pixels."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from relubench.reports.figures.declaration import Panel, Series
from relubench.reports.figures.draw import panel_canvas
from relubench.reports.figures.looks import looks_of
from relubench.reports.figures.names import Theme
from relubench.reports.plots.figure import COLOURS

STAND_IN = Theme(ink="#010203", faint="#040506", colours=tuple(f"#0a0b{place:02x}" for place in range(len(COLOURS))))
"""Colours that nothing else has: in the page each of them is one of its own variables, for its light and dark look."""
VARIABLES = {
    STAND_IN.ink: "currentColor",
    STAND_IN.faint: "var(--faint)",
    **{colour: f"var(--c{place})" for place, colour in enumerate(STAND_IN.colours)},
}
DIGITS = 4
"""Significant digits of a number that a page shows at a point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A panel as a page has it."""

    svg: str
    series: list[dict[str, Any]]
    """Of each series its label, key and colour, and its points: x and y in pixels of the drawing, then the numbers."""


def drawing_of(panel: Panel, keys: Sequence[str], name: str) -> Drawing:
    """The panel drawn; `name` begins the ids in it, which a page has once."""
    canvas, axes = panel_canvas(panel, keys, STAND_IN)
    buffer = io.StringIO()
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        canvas.draw_without_rendering()
        # The layout stays as it is, or the points would not be where they are drawn.
        canvas.set_layout_engine("none")
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    height = canvas.bbox.height
    looks = looks_of(keys)
    series = [
        {
            "l": entry.label,
            "k": entry.key,
            "c": looks[entry.key].colour if entry.key in looks else -1,
            "p": _points(entry, axes, height),
        }
        for entry in panel.series
    ]
    return Drawing(svg=_tidied(buffer.getvalue(), panel, name), series=series)


def _points(series: Series, axes: Any, height: float) -> list[list[Any]]:
    """[x, y in pixels, x, y, low, high, name] of every point that has both values; trailing gaps are left out."""
    points = []
    for place, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        pixel_x, pixel_y = axes.transData.transform((x, y))
        ends = [_short(values[place]) if len(values) else None for values in (series.low, series.high)]
        name = [series.names[place]] if len(series.names) else []
        point = [round(float(pixel_x), 1), round(float(height - pixel_y), 1), _short(x), _short(y), *ends, *name]
        while point[-1] is None:
            point.pop()
        points.append(point)
    return points


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(np.format_float_positional(value, precision=DIGITS, unique=False, fractional=False))
    return int(rounded) if rounded.is_integer() else rounded


def _tidied(svg: str, panel: Panel, name: str) -> str:
    """The drawing without its head, with the page's colours, short numbers, and groups that a script can switch."""
    svg = svg[svg.index("<svg") :]
    # The style would be that of the whole page.
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    # Within tags only: 0.001 at an axis is a number that somebody reads.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), svg)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r'<g id="series-(\d+)">', lambda match: _group(panel, int(match[1])), svg)
    svg = re.sub(r" ?font-family: [^;\"]*;| transform=\"rotate\(-?0 [^)]*\)\"", "", svg)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))
    svg = re.sub(r' id="([\w.-]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', svg, count=1)


def _group(panel: Panel, place: int) -> str:
    return f'<g data-s="{place}" data-key="{escape(panel.series[place].key)}">'
