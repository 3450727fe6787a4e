"""Forward time against sparsity: a panel for each batch, a line for each way, its break-even, the paper's zeros."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.reports.plots.figure import COLOURS, save, style_axes
from relubench.reports.report import Report, Row
from relubench.reports.speed.sparse_products import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_zeros(report: Report, path: Path) -> None:
    """Writes the figure of a report of `sparsity_report`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    table, paper = report.about["break_even"], report.about["paper_sparsity_pct"]
    figure = Figure(figsize=(4.4 * max(2, len(table)), 4.8), layout="constrained")
    panels = figure.subplots(1, len(table), sharey=True, squeeze=False)[0]
    for axes, line in zip(panels, table, strict=True):
        batch_rows = [row for row in report.rows if row["batch"] == line["batch"] and row["dense_us"] is not None]
        _panel(axes, batch_rows, line, paper)
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    panels[0].yaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("µs an image of one layer's product (logarithmic)")
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    figure.suptitle(report.title, fontsize="medium")
    save(figure, path)


def _panel(axes: Axes, rows: Sequence[Row], break_even: Row, paper: float) -> None:
    shifted_rows = sorted((row for row in rows if row["source"] == "shifted"), key=lambda row: row["sparsity_pct"])
    # Layers of another size take another time.
    sizes = {(row["inputs"], row["outputs"]) for row in shifted_rows}
    trained_rows = [row for row in rows if row["source"] == "trained" and (row["inputs"], row["outputs"]) in sizes]
    for place, (way, name) in enumerate({"dense": "dense", **WAYS}.items()):
        colour = COLOURS[-1] if way == "dense" else COLOURS[place - 1]
        shifted_points = [
            (row["sparsity_pct"], row[f"{way}_us"]) for row in shifted_rows if row[f"{way}_us"] is not None
        ]
        trained_points = [
            (row["sparsity_pct"], row[f"{way}_us"]) for row in trained_rows if row[f"{way}_us"] is not None
        ]
        if shifted_points:
            style = ":" if way == "csr_converted" else "-"
            axes.plot(*zip(*shifted_points, strict=True), color=colour, linestyle=style, linewidth=1.6, label=name)
        if trained_points and way != "dense":
            axes.scatter(
                *zip(*trained_points, strict=True),
                color=colour,
                edgecolor="white",
                s=34,
                zorder=4,
                label="layers of this size as trained" if way == "columns" else None,
            )
    _marks(axes, shifted_rows, break_even, paper)
    axes.set_title(f"batch {break_even['batch']}", fontsize="medium")
    axes.set_xlabel("exact zeros among the inputs, %")
    axes.set_xlim(0, 100)
    style_axes(axes)


def _marks(axes: Axes, shifted_rows: Sequence[Row], break_even: Row, paper: float) -> None:
    """The paper's sparsity, and where each way crosses the dense product."""
    import numpy as np

    axes.axvline(paper, color="0.35", linewidth=1.0, linestyle=(0, (4, 3)), label=f"the paper's {paper:g} %")
    levels, dense = [row["sparsity_pct"] for row in shifted_rows], [row["dense_us"] for row in shifted_rows]
    points = [break_even[f"{way}_pct"] for way in WAYS if break_even[f"{way}_pct"]]
    if points and levels:
        heights = np.interp(points, levels, dense)
        axes.plot(points, heights, linestyle="", marker="X", color="0.2", markersize=7, zorder=5, label="break-even")
