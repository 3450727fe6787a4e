"""How much the active units of two images have in common, in one class and in two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource
from relubench.runs.result import RunResult
from relubench.statistics.means import Mean

PAIRS = {"overlap_within_pct": "images of one class", "overlap_between_pct": "images of two classes"}
"""What a run measured -> what it is called."""


def overlap_figure(source: FigureSource) -> Figure | None:
    """Two points with their intervals for each network; None where no run measured overlaps."""
    keys = [key for key in source.keys if any(overlaps(run) for run in source.runs if source.key_of(run) == key)]
    if not keys:
        return None
    panel = Panel(
        x_label="units that are on for both images (% of those on for either)",
        y_label="",
        series=[_series(source, keys, name, hollow=place > 0) for place, name in enumerate(PAIRS)],
        categories=keys,
    )
    return Figure(
        name="overlap",
        title="Which units are on: one class against two",
        subject=source.subject,
        reading="Jaccard overlap of the sets of active units in the last hidden layer, the mean over pairs of images, "
        "with the 95 % interval over seeds where there are several. The further apart the two points, the more a class "
        "has units of its own; where nearly all units are always on, both are near 100.",
        panels=[panel],
        keys=source.keys,
    )


def overlaps(run: RunResult) -> dict[str, float]:
    """The overlaps of a run at its best epoch, by name."""
    return {
        value.name: value.value
        for value in run.measured
        if value.name in PAIRS and value.epoch == run.best_epoch and value.value is not None
    }


def _series(source: FigureSource, keys: Sequence[str], name: str, *, hollow: bool) -> Series:
    means, lows, highs = [], [], []
    for key in keys:
        runs = [run for run in source.runs if source.key_of(run) == key]
        values = [overlaps(run)[name] for run in runs if name in overlaps(run)]
        mean = float(np.mean(values)) if values else math.nan
        spread = (
            Mean(name=key, mean=mean, deviation=float(np.std(values, ddof=1)), n=len(values)) if values[1:] else None
        )
        low, high = (spread and spread.interval()) or (mean, mean)
        means, lows, highs = [*means, mean], [*lows, max(low, 0.0)], [*highs, min(high, 100.0)]
    return Series(
        label=PAIRS[name],
        key="",
        x=means,
        # Beside each other, so that both intervals are seen.
        y=[place + (0.15 if hollow else -0.15) for place in range(len(keys))],
        low=lows,
        high=highs,
        mark="points",
        hollow=hollow,
        names=[f"{key}: {PAIRS[name]}" for key in keys],
    )
