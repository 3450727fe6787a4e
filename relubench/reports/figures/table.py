"""The figures by name. A new figure is one function in a module of its own and one row of FIGURES."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relubench.errors import ComputeError
from relubench.reports.figures.against import depth_figure, noise_figure
from relubench.reports.figures.curves import curves_figure
from relubench.reports.figures.dead_units import dead_units_figure
from relubench.reports.figures.declaration import Figure
from relubench.reports.figures.distributions import distributions_figure
from relubench.reports.figures.gain import gain_figure
from relubench.reports.figures.gradients import gradients_figure
from relubench.reports.figures.pareto import pareto_figure
from relubench.reports.figures.products import products_figure
from relubench.reports.figures.scores import scores_figure
from relubench.reports.figures.source import FigureSource
from relubench.reports.figures.speed import speed_figure
from relubench.reports.figures.zeros import zeros_figure


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A kind of figure: what makes it, and what it shows."""

    make: Callable[[FigureSource], Figure | None]
    """Gives the figure of a result, or None for a result that has nothing of it."""
    meaning: str


FIGURES: dict[str, FigureRow] = {
    "scores": FigureRow(scores_figure, "the test score of every row with its interval, beside published numbers"),
    "curves": FigureRow(curves_figure, "the validation score against epochs and time, a line and a band a network"),
    "depth": FigureRow(depth_figure, "the test score against the number of hidden layers, by activation"),
    "noise": FigureRow(noise_figure, "the test score against noise on the test images, by activation"),
    "dead-units": FigureRow(dead_units_figure, "dead units of every row, against the learning rate, and by epoch"),
    "zeros": FigureRow(zeros_figure, "zeros against the L1 strength, and the test score against zeros"),
    "gain": FigureRow(gain_figure, "what pre-training gained, with its interval"),
    "gradients": FigureRow(gradients_figure, "the norm of the gradient by hidden layer, before and after training"),
    "distributions": FigureRow(distributions_figure, "quantiles of the pre-activations by layer and epoch"),
    "pareto": FigureRow(pareto_figure, "the best score so far against time, and the front of all networks"),
    "speed": FigureRow(speed_figure, "ns an element against size, beside the roof"),
    "products": FigureRow(products_figure, "time of a product against its zeros"),
}
"""Name -> figure; a page has them in this order, after those that the result names itself."""


def figures_of(source: FigureSource, first: Sequence[str] = ()) -> list[Figure]:
    """All figures that this result has something of, those named `first` in front."""
    names = [*[name for name in first if name in FIGURES], *[name for name in FIGURES if name not in first]]
    figures = [FIGURES[name].make(source) for name in names]
    return [figure for figure in figures if figure is not None]


def figure_of(source: FigureSource, names: Sequence[str]) -> Figure:
    """The first of these figures that the result has something of; ComputeError where it has none."""
    for name in names:
        figure = FIGURES[name].make(source)
        if figure is not None:
            return figure
    raise ComputeError(f"there is nothing to plot: no run has what {' or '.join(names)} shows", "see the table")
