"""What goes into the activation, by layer and epoch: quantiles of the pre-activations, as the probes stored them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.runs.result import LayerProbe, RunResult

NUM_LAYERS, MOST_ACTIVATIONS = 3, 4
"""The first layer, the middle and the last; more panels would be stamps."""
MEDIAN, LOWER, UPPER = 2, 1, 3
"""Places of the quantiles 50, 25 and 75 %."""


def distributions_figure(source: FigureSource) -> Figure | None:
    """A panel for each activation and layer, of the first seed; None without probes of several epochs."""
    if len(source.variants) > 1:
        return None
    first_runs: dict[str, RunResult] = {}
    for run in source.runs:
        first_runs.setdefault(str(run.spec["activation"]), run)
    runs = {name: run for name, run in first_runs.items() if len({probe.epoch for probe in run.probes}) > 1}
    if not runs or len(runs) > MOST_ACTIVATIONS or len({run.spec.get("model") for run in runs.values()}) > 1:
        return None
    depth = max(probe.layer for run in runs.values() for probe in run.probes)
    layers = sorted({1 + round(place * (depth - 1) / (NUM_LAYERS - 1)) for place in range(NUM_LAYERS)})
    panels = [panel for activation, run in runs.items() for panel in _panels(activation, run, layers)]
    if not panels:
        return None
    return Figure(
        name="distributions",
        title="What goes into the activation, layer by layer",
        subject=source.subject,
        reading="The line is the median of a layer's pre-activations on the probe images, the band holds the "
        "middle half of them, in the network of the first seed. Below 0 a ReLU gives zeros; far from 0 a "
        "sigmoid is flat.",
        panels=panels,
        keys=source.keys,
    )


def _panels(activation: str, run: RunResult, layers: Sequence[int]) -> list[Panel]:
    panels = [panel for layer in layers if (panel := _panel(activation, run, layer)) is not None]
    return [replace(panel, y_range=_common_range(panels)) for panel in panels]


def _panel(activation: str, run: RunResult, layer: int) -> Panel | None:
    line = _line(activation, [probe for probe in run.probes if probe.layer == layer])
    if line is None:
        return None
    title = f"{activation}, hidden layer {layer}"
    return Panel(title=title, x_label="epochs trained", y_label="pre-activation", series=[line])


def _common_range(panels: Sequence[Panel]) -> tuple[float, float]:
    """The ends of the axis that an activation's layers share, so that their bands can be compared."""
    lines = [line for panel in panels for line in panel.series]
    low, high = min(min(line.low) for line in lines), max(max(line.high) for line in lines)
    room = 0.05 * (high - low or 1.0)
    return low - room, high + room


def _line(activation: str, probes: Sequence[LayerProbe]) -> Series | None:
    complete = [probe for probe in probes if len(probe.quantiles) == 5 and None not in probe.quantiles]
    if len(complete) < 2:
        return None
    quantiles = [[math.nan if value is None else value for value in probe.quantiles] for probe in complete]
    return Series(
        label=activation,
        key=activation,
        x=[float(probe.epoch) for probe in complete],
        y=[values[MEDIAN] for values in quantiles],
        low=[values[LOWER] for values in quantiles],
        high=[values[UPPER] for values in quantiles],
        band=True,
    )
