"""What pre-training gained over the same network without, for each activation, with its interval."""

from __future__ import annotations

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row
from relubench.reports.scores import score_of

KEYS = ("metric_difference", "metric_difference_ci_low", "metric_difference_ci_high")


def gain_figure(source: FigureSource) -> Figure | None:
    """A dot for each activation and way of pre-training; None where no row is pre-trained and compared."""
    rows = [
        row for row in source.rows if row.get("pretraining", "none") != "none" and score_of(row, KEYS[0]) is not None
    ]
    if not rows:
        return None
    sign = -1.0 if source.task.lower_is_better else 1.0
    panels = [
        _panel(source, [row for row in rows if row.get("variant", "") == variant], variant, sign)
        for variant in dict.fromkeys(str(row.get("variant", "")) for row in rows)
    ]
    return Figure(
        name="gain",
        title="What pre-training gains",
        subject=source.subject,
        reading="A dot right of 0 is better than the same network without pre-training; where the line, the "
        "interval of the difference, crosses 0 the gain is no more than noise.",
        panels=panels,
        keys=source.keys,
    )


def _panel(source: FigureSource, rows: list[Row], variant: str, sign: float) -> Panel:
    rows = sorted(rows, key=lambda row: source.keys.index(row["activation"]))
    labels = [f"{row['activation']}, {row['pretraining']}" for row in rows]
    series = []
    for key in source.keys:
        places = [place for place, row in enumerate(rows) if row["activation"] == key]
        values = [[sign * (score_of(rows[place], name) or 0.0) for place in places] for name in KEYS]
        ends = [sorted(pair) for pair in zip(values[1], values[2], strict=True)]
        if places:
            series.append(
                Series(
                    label=key,
                    key=key,
                    x=values[0],
                    y=[float(place) for place in places],
                    low=[low for low, _ in ends],
                    high=[high for _, high in ends],
                    mark="points",
                    names=[labels[place] for place in places],
                )
            )
    unit = f" ({source.task.difference_unit})" if source.task.difference_unit else ""
    return Panel(
        title=variant,
        x_label=f"gain in test {source.task.noun}{unit}",
        y_label="",
        series=series,
        categories=labels,
        rules=[Rule(at=0.0, text="", vertical=True)],
    )
