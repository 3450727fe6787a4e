"""Draws a declared figure with matplotlib: all panels into a file, or one panel for a page."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.errors import UsageError
from relubench.reports.figures.declaration import Figure, Panel, Scale, Series
from relubench.reports.figures.looks import Look, looks_of
from relubench.reports.figures.names import Theme, name_ends, name_points, name_rule
from relubench.reports.plots.figure import COLOURS, SUFFIXES, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

WIDTH, HEIGHT = 4.4, 3.3
"""Inches of a panel. It is scaled to a column of the page, or to a wall: a smaller one has the larger letters."""
LEAST_WIDTH = 6.2
"""Inches of a figure of one panel: its title needs them."""
PER_CATEGORY, MOST_COLUMNS = 0.24, 3
NO_LOOK = Look(len(COLOURS) - 1, (), "o")
LETTERS_UPWARDS = 38
"""Letters of a vertical axis's name that stand in one line."""
LEGEND_LINE = 3.2
"""Letters that a line of the legend is long: two dashes are seen beside its mark."""
BESIDE = 2.5 / 72
"""Inches between the bars of lines that have a point at the same place."""
BARE_FROM = 14
"""Lines of this many points go without a mark at each."""


def write_figure(figure: Figure, path: Path) -> None:
    """Writes all panels with a legend as .png, .svg or .pdf; ComputeError where the file cannot be written."""
    if path.suffix.lower() not in SUFFIXES:
        hint = f"end the file's name in {', '.join(SUFFIXES)}"
        raise UsageError(f"cannot plot to {path.name!r}: its suffix names no format of a figure", hint)
    save(canvas_of(figure), path)


def png(figure: Figure, dpi: int = 90) -> bytes:
    """The whole figure as a PNG, for a notebook."""
    buffer = io.BytesIO()
    canvas_of(figure).savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def canvas_of(figure: Figure) -> Canvas:
    """The whole figure, drawn: panels beside each other, the legend below, the title above."""
    columns, shrink = _layout(figure.panels)
    rows = -(-len(figure.panels) // columns)
    heights = [shrink * panel_height(panel) for panel in figure.panels]
    row_heights = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    handles = _legend(figure, Theme())
    size = (
        max(shrink * WIDTH * columns, LEAST_WIDTH),
        sum(row_heights) + 0.75 + 0.24 * -(-len(handles) // (2 * columns)),
    )
    canvas = _canvas(size)
    grid = canvas.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": row_heights})
    looks = looks_of(figure.keys)
    for place, axes in enumerate(grid.flatten()):
        if place >= len(figure.panels):
            axes.set_visible(False)
            continue
        draw_panel(axes, figure.panels[place], looks, Theme())
    if handles:
        where = {"loc": "outside lower center", "ncols": 2 * columns}
        canvas.legend(handles=handles, fontsize="small", frameon=False, handlelength=LEGEND_LINE, **where)
    canvas.suptitle(f"{figure.title}\n{figure.subject}" if figure.subject else figure.title, fontsize="medium")
    return canvas


def _layout(panels: Sequence[Panel]) -> tuple[int, float]:
    """The panels beside each other, and how much smaller than alone each of them is."""
    return (MOST_COLUMNS, 0.8) if are_small(panels) else (min(len(panels), 2), 1.0)


def are_small(panels: Sequence[Panel]) -> bool:
    """Whether three panels stand beside each other: names beside the axes need more room."""
    return len(panels) not in (1, 2, 4) and not any(panel.categories or panel.end_names for panel in panels)


def panel_height(panel: Panel) -> float:
    """The inches of a panel: as many as its names need."""
    return max(2.2, PER_CATEGORY * len(panel.categories) + 1.1) if panel.categories else HEIGHT


def panel_canvas(panel: Panel, keys: Sequence[str], theme: Theme) -> tuple[Canvas, Axes]:
    """One panel alone, without a legend: as a page has it."""
    canvas = _canvas((WIDTH, panel_height(panel)))
    canvas.patch.set_alpha(0)
    axes = canvas.subplots()
    axes.patch.set_alpha(0)
    draw_panel(axes, panel, looks_of(keys), theme)
    return canvas, axes


def _canvas(size: tuple[float, float]) -> Canvas:
    import matplotlib
    from matplotlib.figure import Figure as NewCanvas

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    return NewCanvas(figsize=size, layout="constrained", dpi=72)


def draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, Look], theme: Theme) -> None:
    """Draws one panel; the artists of the series at place i have the group id `series-i`."""
    for place, series in enumerate(panel.series):
        look = looks.get(series.key, NO_LOOK)
        colour = theme.colours[look.colour] if series.key in looks else theme.ink
        beside = BESIDE * (place - (len(panel.series) - 1) / 2)
        _draw_series(axes, series, look, colour, f"series-{place}", beside, horizontal=bool(panel.categories))
    for rule in panel.rules:
        line = axes.axvline if rule.vertical else axes.axhline
        line(rule.at, color=theme.faint, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    _scale_axes(axes, panel)
    for rule in panel.rules:
        if rule.text:
            name_rule(axes, rule.at, rule.text, theme, vertical=rule.vertical)
    _style(axes, panel, theme)
    if panel.end_names:
        name_ends(axes, panel.series, looks, theme)
    if panel.point_names:
        name_points(axes, panel.series, theme)


def _draw_series(
    axes: Axes, series: Series, look: Look, colour: str, group: str, beside: float, *, horizontal: bool
) -> None:
    """Draws one series; one with bars stands so many inches `beside` its place, so that no bar hides another."""
    x, y = np.asarray(series.x, float), np.asarray(series.y, float)
    low, high = np.asarray(series.low, float), np.asarray(series.high, float)
    style: dict[str, Any] = {"color": colour, "gid": group, "label": "_"}
    is_finite = np.isfinite(low) & np.isfinite(high)
    bars = np.stack([low[is_finite], high[is_finite]])
    lines = []
    if low.size and series.band:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0, gid=group)
    elif low.size and horizontal:
        axes.hlines(y[is_finite], *bars, color=colour, linewidth=1.6, gid=group)
    elif low.size:
        lines += axes.plot(np.stack([x[is_finite]] * 2), bars, linewidth=1.4, **style)
    marker: dict[str, Any] = {"marker": look.marker, "markersize": 5.5 if series.mark == "points" else 4}
    if series.hollow:
        marker |= {"markerfacecolor": "none", "markersize": 7}
    if series.mark == "points":
        line: dict[str, Any] = {"linestyle": "none", **marker}
    else:
        dash = (0, (4, 2.5)) if series.dashed else (0, look.dash) if look.dash else "-"
        # Nobody measured the corners of a front.
        marker = marker if x.size < BARE_FROM and series.key else {}
        steps = {"drawstyle": "steps-post"} if series.mark == "steps" else {}
        line = {"linestyle": dash, "linewidth": 1.7, **marker, **steps}
    lines += axes.plot(x, y, **line, **style)
    if low.size and not series.band and not horizontal:
        _move(axes, lines, beside)


def _move(axes: Axes, lines: Sequence[Line2D], inches: float) -> None:
    """Moves what is drawn to the right; the axis keeps its ends, since they are known already."""
    from matplotlib.transforms import ScaledTranslation

    for line in lines:
        line.set_transform(axes.transData + ScaledTranslation(inches, 0, axes.figure.dpi_scale_trans))


def _scale_axes(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    _scale(axes.xaxis, panel.x_scale)
    _scale(axes.yaxis, panel.y_scale)
    if panel.x_scale == "linear" and not panel.categories and _are_whole(panel.series):
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if panel.x_ticks:
        texts = panel.x_tick_texts or [f"{tick:g}" for tick in panel.x_ticks]
        axes.xaxis.set_major_locator(FixedLocator(list(panel.x_ticks)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        by_tick = dict(zip(panel.x_ticks, texts, strict=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: by_tick.get(value, f"{value:g}")))
    if panel.categories:
        axes.set_yticks(range(len(panel.categories)), list(panel.categories))
        axes.set_ylim(len(panel.categories) - 0.5, -0.5)
    if panel.from_zero and panel.categories:
        # A mark at 0 is not cut in half by the axis.
        axes.set_xlim(left=-0.02 * axes.get_xlim()[1])
    elif panel.from_zero:
        axes.set_ylim(bottom=0)


def _are_whole(lines: Sequence[Series]) -> bool:
    """Whether all that is drawn lies at whole numbers, as epochs do: there is nothing at 1.5."""
    return all(float(x).is_integer() for line in lines for x in line.x)


def _scale(axis: Any, scale: Scale) -> None:
    """Sets the scale of an axis; a logarithmic one has plain numbers, and powers where it spans many of them."""
    if scale == "linear":
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    is_x = axis.axis_name == "x"
    set_scale = axis.axes.set_xscale if is_x else axis.axes.set_yscale
    set_scale("log", base=2) if scale == "log2" else set_scale("log")
    if scale == "log2":
        return
    low, high = axis.axes.get_xlim() if is_x else axis.axes.get_ylim()
    spread = math.log10(high / low) if low > 0 else math.inf
    if spread < 3:
        subs = (1.0, 2.0, 5.0) if spread > 0.8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _style(axes: Axes, panel: Panel, theme: Theme) -> None:
    """Gives the axes their names, a faint grid, and no frame at the top and the right."""
    axes.set_xlabel(panel.x_label + (", log scale" if panel.x_scale != "linear" else ""), color=theme.ink)
    y_label = panel.y_label + (", log scale" if panel.y_scale != "linear" else "")
    axes.set_ylabel(textwrap.fill(y_label, LETTERS_UPWARDS), color=theme.ink)
    if panel.title:
        axes.set_title(panel.title, fontsize="medium", color=theme.ink)
    axes.grid(visible=True, axis="x" if panel.categories else "both", color=theme.faint, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.faint)
    axes.tick_params(which="both", color=theme.faint, labelcolor=theme.ink, labelsize="small")


def _legend(figure: Figure, theme: Theme) -> list[Any]:
    """A handle for each label that the panels draw; names on an axis need none."""
    from matplotlib.lines import Line2D

    looks = looks_of(figure.keys)
    handles: dict[str, Any] = {}
    unnamed = [panel for panel in figure.panels if not (panel.end_names or panel.point_names)]
    all_series = [series for panel in unnamed for series in panel.series]
    names = [name for panel in figure.panels for name in panel.categories]
    for series in all_series:
        is_on_axis = names and all(series.key and series.key in names[int(y)] for y in series.y if len(names) > y)
        if not series.label or series.label in handles or (is_on_axis and series.mark == "points"):
            continue
        # What several activations share, as a dash does, has no colour.
        keys = {other_series.key for other_series in all_series if other_series.label == series.label}
        look = looks.get(series.key, NO_LOOK)
        colour = theme.colours[look.colour] if series.key in looks and len(keys) == 1 else theme.ink
        dash = (0, (4, 2.5)) if series.dashed else (0, look.dash) if look.dash else "-"
        is_points = series.mark == "points"
        has_marker = is_points or (len(series.x) < BARE_FROM and series.key and len(keys) == 1)
        handles[series.label] = Line2D(
            [],
            [],
            color=colour,
            marker=look.marker if has_marker else "",
            markerfacecolor="none" if series.hollow else colour,
            linestyle="none" if is_points else dash,
            label=series.label,
        )
    return list(handles.values()) if len(handles) > 1 else []
