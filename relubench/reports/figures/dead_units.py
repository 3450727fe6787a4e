"""Dead units: of every row, against the learning rate, and from epoch to epoch."""

from __future__ import annotations

from statistics import fmean

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import (
    FigureSource,
    grouped,
    row_key,
    row_label,
    setting_word,
    settings_that_vary,
)
from relubench.runs.result import RunResult

LEAST_DEAD_PCT = 1.0
"""A study in which no row has so many dead units is not about them."""
MOST_LINES = 8
MOST_ROWS = 40
SETTINGS = ("init", "norm", "warmup_epochs")
"""What beside the activation tells apart the lines against the learning rate."""


def dead_units_figure(source: FigureSource) -> Figure | None:
    """Panels of dead units by row, by learning rate and by epoch; None where hardly any unit is dead."""
    shares = [float(row["dead_units_pct"]) for row in source.rows if row.get("dead_units_pct") is not None]
    if not shares or max(shares) < LEAST_DEAD_PCT or len(shares) > MOST_ROWS:
        return None
    panels = [panel for panel in (_by_row(source), _by_rate(source), _by_epoch(source)) if panel is not None]
    return Figure(
        name="dead-units",
        title="How many hidden units are dead",
        subject=source.subject,
        reading="A dead unit has slope 0 at every training image, so that training cannot change it. A dot is the mean "
        "over seeds, its line reaches from the lowest to the highest seed.",
        panels=panels,
        keys=source.keys,
    )


def _by_row(source: FigureSource) -> Panel:
    """All rows below each other, the most dead at the top."""
    rows = [row for row in source.rows if row.get("dead_units_pct") is not None]
    rows.sort(key=lambda row: -float(row["dead_units_pct"]))
    labels = [row_label(row, rows) for row in rows]
    series = []
    for key in source.keys:
        places = [place for place, row in enumerate(rows) if row_key(row, source) == key]
        if places:
            spans = [_span(source, rows[place]) for place in places]
            series.append(
                Series(
                    label=key,
                    key=key,
                    x=[float(rows[place]["dead_units_pct"]) for place in places],
                    y=[float(place) for place in places],
                    low=[low for low, _ in spans],
                    high=[high for _, high in spans],
                    mark="points",
                    names=[labels[place] for place in places],
                )
            )
    return Panel(
        title="after the last epoch",
        x_label="dead units (% of the hidden units)",
        y_label="",
        series=series,
        categories=labels,
        from_zero=True,
    )


def _span(source: FigureSource, row: dict[str, object]) -> tuple[float, float]:
    """The lowest and the highest share of the row's seeds."""
    names = ("activation", "dataset", "model", "pretraining", "variant")
    shares = [
        run.dead_units_pct
        for run in source.runs
        if run.dead_units_pct is not None
        and all(row.get(name) in (None, run.spec.get(name, "none")) for name in names)
        and row.get("l1") in (None, run.spec.get("l1_asked", run.spec.get("l1")))
    ]
    return (min(shares), max(shares)) if shares else (float("nan"), float("nan"))


def _by_rate(source: FigureSource) -> Panel | None:
    """A line for each activation and setting that was trained at several learning rates."""
    runs = [run for run in source.runs if run.dead_units_pct is not None and run.spec.get("lr")]
    by_setting = {
        setting: of_setting
        for setting, of_setting in grouped(runs, "activation", *SETTINGS).items()
        if len(grouped(of_setting, "lr")) > 1
    }
    varied = [len({setting[place] for setting in by_setting}) > 1 for place in range(len(SETTINGS) + 1)]
    lines: list[Series] = []
    for (activation, *details), of_line in by_setting.items():
        setting = [detail for detail, is_varied in zip(details, varied[1:], strict=True) if is_varied]
        by_rate = grouped(of_line, "lr")
        rates = sorted((float(rate), rate) for (rate,) in by_rate)
        shares = [[run.dead_units_pct or 0.0 for run in by_rate[(rate,)]] for _, rate in rates]
        words = [word for word in setting if word not in ("None", "none", "", "0", "0.0")]
        lines.append(
            Series(
                label=", ".join([activation, *words]),
                key=activation if activation in source.keys else "",
                x=[value for value, _ in rates],
                y=[fmean(values) for values in shares],
                low=[min(values) for values in shares],
                high=[max(values) for values in shares],
                dashed=bool(lines) and any(line.key == activation for line in lines),
            )
        )
    if not lines:
        return None
    ticks = sorted({x for line in lines for x in line.x})
    return Panel(
        title="against the learning rate",
        x_label="learning rate",
        y_label="dead units (%)",
        x_scale="log",
        x_ticks=ticks,
        end_names=True,
        series=lines,
        from_zero=True,
    )


def _by_epoch(source: FigureSource) -> Panel | None:
    """A line for each row, from the probes; those with the most dead units where there are too many for a panel."""
    lines = []
    varied = settings_that_vary(source.runs)
    for (activation, *setting), runs in grouped(source.runs, "activation", *varied).items():
        curves = [curve for run in runs if (curve := _dead_by_epoch(run))]
        if not curves:
            continue
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        shares = [[curve[epoch] for curve in curves] for epoch in epochs]
        words = [setting_word(*pair) for pair in zip(varied, setting, strict=True) if pair[1] not in ("", "none")]
        key = source.key_of(runs[0])
        lines.append(
            Series(
                label=", ".join(words if key in words else [activation, *words]),
                key=key,
                x=[float(epoch) for epoch in epochs],
                y=[fmean(values) for values in shares],
                low=[min(values) for values in shares] if len(curves) > 1 else (),
                high=[max(values) for values in shares] if len(curves) > 1 else (),
                band=True,
            )
        )
    shown = sorted((line for line in lines if line.x), key=lambda line: -line.y[-1])[:MOST_LINES]
    if not shown or max(len(line.x) for line in shown) < 2:
        return None
    return Panel(
        title="from epoch to epoch"
        if len(shown) == len(lines)
        else f"from epoch to epoch, the {MOST_LINES} with the most",
        end_names=True,
        x_label="epochs trained",
        y_label="dead on the probe images (%)",
        series=shown,
        from_zero=True,
    )


def _dead_by_epoch(run: RunResult) -> dict[int, float]:
    """Epoch -> percent of the hidden units that are dead on the probe images; epochs that tell of all layers."""
    layers = max((probe.layer for probe in run.probes), default=0)
    shares = {}
    for epoch in dict.fromkeys(probe.epoch for probe in run.probes):
        probes = [probe for probe in run.probes if probe.epoch == epoch and probe.dead is not None]
        if len(probes) == layers:
            units = sum(probe.units for probe in probes)
            shares[epoch] = 100 * sum(probe.dead or 0 for probe in probes) / units
    return shares
