"""Time of a layer's product against its input's zeros: from how many zeros on leaving them out pays."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row
from relubench.reports.speed.sparse_products import WAYS


def products_figure(source: FigureSource) -> Figure | None:
    """A panel for each batch; None for a result that timed no products."""
    table = source.about.get("break_even")
    if not table:
        return None
    ways = {"dense": "dense", **WAYS}
    panels = []
    for line in table:
        rows = [row for row in source.rows if row.get("batch") == line["batch"] and row.get("dense_us") is not None]
        shifted = sorted((row for row in rows if row["source"] == "shifted"), key=lambda row: row["sparsity_pct"])
        if shifted:
            panels.append(_panel(shifted, ways, line["batch"], source.about.get("paper_sparsity_pct")))
    if not panels:
        return None
    return Figure(
        name="products",
        title="From how many zeros on it pays to leave them out",
        subject=source.title,
        reading="Where a line lies below that of the dense product, leaving zeros out is faster at "
        "that share of zeros.",
        panels=panels,
        keys=list(ways.values()),
    )


def _panel(rows: Sequence[Row], ways: dict[str, str], batch: int, paper: float | None) -> Panel:
    series = []
    for way, name in ways.items():
        timed = [row for row in rows if row.get(f"{way}_us") is not None]
        x, y = [float(row["sparsity_pct"]) for row in timed], [float(row[f"{way}_us"]) for row in timed]
        if timed:
            series.append(Series(label=name, key=name, x=x, y=y))
    return Panel(
        title=f"batch {batch}",
        x_label="zeros (%)",
        y_label="µs an image",
        y_scale="log",
        series=series,
        rules=[] if paper is None else [Rule(at=float(paper), text="the paper's zeros", vertical=True)],
    )
