"""Another panel of the figure: validation error against learning rate, for each activation that `--lr auto` tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from relubench.experiments.rows import Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LineStyles = Mapping[tuple[str, str], dict[str, str]]
"""How each variant's and activation's line is drawn; keywords of Axes.plot."""


def draw_sensitivity(axes: Axes, tunings: Sequence[Tuning], looks: LineStyles) -> None:
    """One line an activation over the grid, a ring around the chosen rate; a rate that failed is a gap.

    The line styles are those of the learning curves, so one legend serves both.
    """
    for tuning in tunings:
        rates = sorted(tuning.errors)
        errors = [math.nan if (error := tuning.errors[rate]) is None else error for rate in rates]
        look = looks.get((tuning.variant, tuning.activation), {"color": "0.5", "linestyle": "-"})
        axes.plot(
            rates, errors, color=look["color"], linestyle=look["linestyle"], linewidth=1.4, marker="o", markersize=3
        )
        best = tuning.errors[tuning.lr]
        if best is not None:
            ring = {"markerfacecolor": "none", "markeredgecolor": look["color"], "markeredgewidth": 1.6}
            axes.plot(tuning.lr, best, marker="o", markersize=10, linestyle="", zorder=5, **ring)
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

    grid = sorted({rate for tuning in tunings for rate in tuning.errors})
    axes.set_xscale("log")
    # The whole grid, also where nothing trained.
    axes.set_xlim(grid[0] / 1.5, grid[-1] * 1.5)
    axes.xaxis.set_major_locator(FixedLocator(grid))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("learning rate (ring: chosen)")
    seeds = f", {tunings[0].seeds} seeds" if tunings[0].seeds > 1 else ""
    axes.set_title(f"tuning: best validation error{seeds}", fontsize="small")
