"""ns an element against size, a line for each activation and one for the roof: where each leaves the caches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.errors import ComputeError
from relubench.reports.plots.figure import COLOURS, DASHES, line_style, save, style_axes
from relubench.reports.report import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOFS = {"forward": ("read-write",), "forward+backward": ("read-write", "two reads and a write in place")}
"""The patterns whose times add up to a plain activation's roof in each pass."""


def plot_speed(rows: Sequence[Row], runs: Sequence[Row], path: Path, *, title: str) -> None:
    """Writes the figure: a panel for each dtype, mode and pass; ComputeError where there is nothing to draw."""
    from matplotlib.figure import Figure

    timed_rows = [row for row in rows if row["ns_per_element"] is not None]
    if not timed_rows:
        raise ComputeError("no activation was measured, so that there is nothing to plot", "see the table's messages")
    panels = list(dict.fromkeys((row["dtype"], row["mode"], row["pass"]) for row in timed_rows))
    labels = list(dict.fromkeys(row["activation"] for row in timed_rows))
    legend_rows = -(-(len(labels) + 1) // 6)
    figure = Figure(figsize=(5.2 * max(2, len(panels)), 4.6 + 0.22 * legend_rows), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(axis, panel, labels, timed_rows, runs)
    axes[0].set_ylabel("ns an element (logarithmic)")
    handles, names = _legend(axes)
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize="small", frameon=False)
    figure.suptitle(title, fontsize="medium")
    save(figure, path)


def roof_curve(panel: tuple[str, str, str], runs: Sequence[Row]) -> list[tuple[int, float]]:
    """(elements, ns an element) of the measured roof of a plain activation; empty where it was not measured."""
    name = panel[-1]
    roof_runs = [run for run in runs if run["role"] == "roof" and (run["dtype"], run["mode"], run["pass"]) == panel]
    by_size: dict[int, dict[str, float]] = {}
    for run in roof_runs:
        by_size.setdefault(run["elements"], {})[run["contestant"]] = float(np.median(run["samples_ns_per_element"]))
    patterns = ROOFS.get(name, ())
    return [
        (elements, sum(times[pattern] for pattern in patterns))
        for elements, times in sorted(by_size.items())
        if patterns and all(pattern in times for pattern in patterns)
    ]


def _panel(
    axis: Axes, panel: tuple[str, str, str], labels: Sequence[str], rows: Sequence[Row], runs: Sequence[Row]
) -> None:
    for place, label in enumerate(labels):
        line_rows = [
            row for row in rows if row["activation"] == label and (row["dtype"], row["mode"], row["pass"]) == panel
        ]
        line_rows.sort(key=lambda row: row["elements"])
        # A style repeats after 28 lines; a marker tells the rest.
        marker = "o" if place < len(COLOURS) * len(DASHES) else "s"
        axis.plot(
            [row["elements"] for row in line_rows],
            [row["ns_per_element"] for row in line_rows],
            label=label,
            linewidth=1.3,
            marker=marker,
            markersize=3,
            **line_style(place),
        )
    if roof := roof_curve(panel, runs):
        axis.plot(*zip(*roof, strict=True), label="measured roof", color="0.4", linewidth=5, alpha=0.35, zorder=0)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("elements (logarithmic)")
    axis.set_title(", ".join(reversed(panel)), fontsize="small")
    style_axes(axis)


def _legend(axes: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return list(handles.values()), list(handles)
