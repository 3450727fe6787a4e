"""The scaling plot: one panel a sweep, both axes logarithmic, the cost of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Protocol

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, StrMethodFormatter

OURS, THEIRS = "#0072b2", "#d55e00"
"""Told apart by the colour-blind, and by their markers in grey."""


class Measured(Protocol):
    """What a panel needs of a point."""

    @property
    def value(self) -> int: ...
    @property
    def ours(self) -> float | None: ...
    @property
    def theirs(self) -> float | None: ...


def draw(sweeps: Mapping[str, Sequence[Measured]], axes: Mapping[str, str], path: Path, caption: str) -> None:
    """Write the figure to `path`; points that were not measured are left out."""
    rows = ceil(len(sweeps) / 2)
    columns = min(2, len(sweeps))
    figure, panels = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.7 * rows), squeeze=False)
    flat = list(panels.flat)
    for panel, (title, points) in zip(flat, sweeps.items(), strict=False):
        _panel(panel, title, points, axes[title])
    for panel in flat[len(sweeps) :]:
        panel.axis("off")
    figure.suptitle(caption, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(panel: Axes, title: str, points: Sequence[Measured], axis: str) -> None:
    for label, colour, marker, costs in (
        ("PyTorch", THEIRS, "s", [one.theirs for one in points]),
        ("relubench", OURS, "o", [one.ours for one in points]),
    ):
        known = [(point.value, cost) for point, cost in zip(points, costs, strict=True) if cost is not None]
        values, known_costs = [value for value, _ in known], [cost for _, cost in known]
        panel.plot(values, known_costs, color=colour, marker=marker, markersize=4, label=label)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_title(title, fontsize=9)
    panel.set_xlabel(axis, fontsize=8)
    panel.set_ylabel("microseconds a training image", fontsize=8)
    measured = [one.value for one in points if one.ours is not None or one.theirs is not None]
    panel.set_xticks(measured, [str(value) for value in measured], fontsize=7)
    panel.tick_params(axis="y", labelsize=7)
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.margins(y=0.12)
    panel.minorticks_off()
    panel.grid(alpha=0.3, linewidth=0.5)
    panel.legend(fontsize=8, frameon=False)
