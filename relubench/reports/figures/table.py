"""The figures by name. A new figure is one function in a module of its own and one row of FIGURES."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from relubench.errors import ComputeError
from relubench.reports.figures.declaration import Figure
from relubench.reports.figures.source import FigureSource

PACKAGE = "relubench.reports.figures."


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A kind of figure: what makes it, and what it shows."""

    target: str
    """'module:function' of what gives the figure of a result, or None for a result that has nothing of it."""
    meaning: str

    def make(self, source: FigureSource) -> Figure | None:
        """The figure of the result; None where it has nothing of it."""
        module, function = self.target.split(":")
        make: Callable[[FigureSource], Figure | None] = getattr(import_module(PACKAGE + module), function)
        return make(source)


FIGURES: dict[str, FigureRow] = {
    "scores": FigureRow(
        "scores:scores_figure", "the test score of every row with its interval, beside published numbers"
    ),
    "curves": FigureRow(
        "curves:curves_figure", "the validation score against epochs and time, a line and a band a network"
    ),
    "differences": FigureRow(
        "differences:differences_figure", "of several tasks: the differences on each data set, with their intervals"
    ),
    "depth": FigureRow("against:depth_figure", "the test score against the number of hidden layers, by activation"),
    "noise": FigureRow("against:noise_figure", "the test score against noise on the test images, by activation"),
    "dead-units": FigureRow(
        "dead_units:dead_units_figure", "dead units of every row, against the learning rate, and by epoch"
    ),
    "zeros": FigureRow("zeros:zeros_figure", "zeros against the L1 strength, and the test score against zeros"),
    "gain": FigureRow("gain:gain_figure", "what pre-training gained, with its interval"),
    "gradients": FigureRow(
        "gradients:gradients_figure", "the norm of the gradient by hidden layer, before and after training"
    ),
    "distributions": FigureRow(
        "distributions:distributions_figure", "quantiles of the pre-activations by layer and epoch"
    ),
    "overlap": FigureRow(
        "overlap:overlap_figure", "the units that two images have on in common, in one class and in two"
    ),
    "experts": FigureRow(
        "experts:experts_figure", "how many experts a mixture uses by epoch, and the test score against that"
    ),
    "exchange": FigureRow(
        "exchange:exchange_figure", "score and zeros before and after one activation took the place of another"
    ),
    "zeros-and-scores": FigureRow(
        "zeros_and_scores:zeros_and_scores_figure", "the test score against the zeros of each network"
    ),
    "pareto": FigureRow("pareto:pareto_figure", "the best score so far against time, and the front of all networks"),
    "choice": FigureRow(
        "choice:choice_figure", "the answer of a choice: score against training time, and differences to the best"
    ),
    "ranking": FigureRow("ranking:ranking_figure", "mean ranks with their intervals and the critical difference"),
    "speed": FigureRow("speed:speed_figure", "ns an element against size, beside the roof"),
    "products": FigureRow("products:products_figure", "time of a product against its zeros"),
}
"""Name -> figure; a page has them in this order, after those that the result names itself."""


def figures_of(source: FigureSource, first: Sequence[str] = ()) -> list[Figure]:
    """All figures that this result has something of, those named `first` in front."""
    names = dict.fromkeys([*(name for name in first if name in FIGURES), *FIGURES])
    figures = [FIGURES[name].make(source) for name in names]
    return [figure for figure in figures if figure is not None]


def figure_of(source: FigureSource, names: Sequence[str]) -> Figure:
    """The first of these figures that the result has something of; ComputeError where it has none."""
    for name in names:
        figure = FIGURES[name].make(source)
        if figure is not None:
            return figure
    raise ComputeError(f"there is nothing to plot: no run has what {' or '.join(names)} shows", "see the table")
