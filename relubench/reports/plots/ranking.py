"""The figure of a ranking: mean ranks with their intervals, and the critical difference (after Demsar 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relubench.reports.plots.figure import COLOURS, save
from relubench.reports.report import Row


def plot_ranking(rows: Sequence[Row], critical_difference: float | None, path: Path, *, title: str) -> None:
    """Draw a line for each activation, the best above; the band ends one critical difference behind the best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.6 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows), 0, -1)
    if critical_difference is not None:
        first = rows[0]["mean_rank"]
        axes.axvspan(first, first + critical_difference, color="0.9", label="critical difference")
        axes.legend(loc="upper right", fontsize="small", frameon=False)
    for place, row in zip(places, rows, strict=True):
        axes.plot([row["mean_rank_ci_low"], row["mean_rank_ci_high"]], [place, place], color=COLOURS[0], linewidth=2)
        axes.plot([row["mean_rank"]], [place], "o", color=COLOURS[0])
    axes.set_yticks(list(places), [row["activation"] for row in rows])
    axes.set_xlabel("mean rank over the data sets and networks, 1 is the best")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
