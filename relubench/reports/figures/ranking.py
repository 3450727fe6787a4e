"""A ranking over several data sets: mean ranks with their intervals, and the critical difference (Demsar 2006)."""

from __future__ import annotations

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource


def ranking_figure(source: FigureSource) -> Figure | None:
    """A dot with its interval for each activation, the best above; None for a result that is no ranking."""
    if source.command != "rank":
        return None
    series = [
        Series(
            label=row["activation"],
            key=row["activation"],
            x=[row["mean_rank"]],
            y=[float(place)],
            low=[row["mean_rank_ci_low"]],
            high=[row["mean_rank_ci_high"]],
            mark="points",
            names=[row["activation"]],
        )
        for place, row in enumerate(source.rows)
    ]
    critical, reach = source.about["critical_difference"], ""
    rules = []
    if critical is not None:
        end = source.rows[0]["mean_rank"] + critical
        rules = [Rule(at=end, text="critical difference from the best", vertical=True)]
        reach = " Who lies left of the dashed line cannot be told apart from the best by ranks."
    panel = Panel(
        x_label="mean rank (1 is the best)",
        y_label="",
        series=series,
        x_ticks=[float(rank) for rank in range(1, len(source.rows) + 1)],
        categories=[row["activation"] for row in source.rows],
        rules=rules,
    )
    return Figure(
        name="ranking",
        title="Mean ranks over the data sets and networks",
        subject=source.title,
        reading=f"A dot is a mean rank, its line the 95 % interval over seeds of these data sets.{reach}",
        panels=[panel],
        keys=source.keys,
    )
