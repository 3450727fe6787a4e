"""How long an activation takes: ns an element against size, beside the roof, and how that stands to relu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource
from relubench.reports.report import Row

ROOFS = {"forward": ("read-write",), "forward+backward": ("read-write", "two reads and a write in place")}
"""The patterns whose times add up to a plain activation's roof in each pass."""


def speed_figure(source: FigureSource) -> Figure | None:
    """A panel for each type, form and pass; None for a result that timed no operators."""
    rows = [row for row in source.rows if row.get("ns_per_element") is not None and "elements" in row]
    if not rows:
        return None
    settings = list(dict.fromkeys((row["dtype"], row["mode"], row["pass"]) for row in rows))
    panels = []
    for setting in settings:
        of_setting = [row for row in rows if (row["dtype"], row["mode"], row["pass"]) == setting]
        several_sizes = len({row["elements"] for row in of_setting}) > 1
        panel = _by_size(source, of_setting, setting) if several_sizes else _by_name(source, of_setting, setting)
        panels.append(panel)
    return Figure(
        name="speed",
        title="How long an activation takes for one element",
        subject=source.title,
        reading="The lower, the faster. The roof is what the memory of this machine needs for the same bytes: nothing "
        "that reads and writes as much can be faster.",
        panels=panels,
        keys=source.keys,
    )


def _by_size(source: FigureSource, rows: Sequence[Row], setting: tuple[str, str, str]) -> Panel:
    series = []
    for key in source.keys:
        of_key = sorted((row for row in rows if row["activation"] == key), key=lambda row: row["elements"])
        x = [float(row["elements"]) for row in of_key]
        series.append(Series(label=key, key=key, x=x, y=[float(row["ns_per_element"]) for row in of_key]))
    if roof := roof_curve(setting, source.records):
        x, y = zip(*roof, strict=True)
        series.append(Series(label="measured roof", key="", x=[float(value) for value in x], y=list(y), dashed=True))
    sizes = sorted({float(row["elements"]) for row in rows})
    return Panel(
        title=", ".join(reversed(setting)),
        x_label="elements",
        y_label="ns an element",
        x_scale="log2",
        y_scale="log",
        x_ticks=sizes[:: max(1, len(sizes) // 5)],
        x_tick_texts=[_size(size) for size in sizes[:: max(1, len(sizes) // 5)]],
        series=[line for line in series if line.x],
    )


def _size(elements: float) -> str:
    """4k, 16M: powers of 1024, as --size has them."""
    for factor, letter in ((1024**2, "M"), (1024, "k")):
        if elements >= factor:
            return f"{elements / factor:g}{letter}" if elements % factor == 0 else f"{elements / factor:.1f}{letter}"
    return f"{elements:g}"


def _by_name(source: FigureSource, rows: Sequence[Row], setting: tuple[str, str, str]) -> Panel:
    """One size only: activations below each other, the fastest at the top."""
    ordered = sorted(rows, key=lambda row: row["ns_per_element"])
    names = [str(row["activation"]) for row in ordered]
    series = [
        Series(label=name, key=name, x=[float(row["ns_per_element"])], y=[float(place)], mark="points", names=[name])
        for place, (name, row) in enumerate(zip(names, ordered, strict=True))
    ]
    roof = roof_curve(setting, source.records)
    return Panel(
        title=", ".join(reversed(setting)),
        x_label="ns an element",
        y_label="",
        series=series,
        categories=names,
        rules=[Rule(at=time, text="roof", vertical=True) for _, time in roof[:1]],
        from_zero=True,
    )


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
