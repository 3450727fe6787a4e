"""Sparsity against test error: our networks and their fit over the paper's own points (its Figure 3)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relubench.errors import ComputeError, DataError
from relubench.experiments.references import is_mnist_network
from relubench.reports.formatting import count
from relubench.reports.plots.figure import COLOURS, save, style_axes
from relubench.reports.training.onset import onset
from relubench.reports.training.sparsity import points
from relubench.runs.result import RunResult
from relubench.runs.task import task_of
from relubench.system.paths import presets_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEGREE = 2
"""Degree of the fitted polynomial, as in the paper's figure."""
FIT_FROM, LEAST_FITTED = 70.0, 10
"""Our networks are fitted from 70 % zeros on, where the paper's lie, if more than this many of ours lie there."""


def plot_sparsity(results: Sequence[RunResult], path: Path, reasons: Mapping[str, str]) -> None:
    """Writes the figure to `path` as png, svg or pdf, by its suffix; the paper's points are in it for its own network.

    `reasons`: activations to which no curve is fitted, with the reason, which the legend gives. Networks that diverged
    or stayed at chance are counted and not drawn. Raises ComputeError if none is left or the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    labels = list(dict.fromkeys(result.spec["activation"] for result in results))
    points_by_label = {
        label: points([result for result in results if result.spec["activation"] == label]) for label in labels
    }
    if not any(errors for _, errors in points_by_label.values()):
        raise ComputeError("no network has a test error to plot", "see why in the table")
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots()
    if is_mnist_network(results[0].spec):
        _paper(axes)
    for place, (label, (zeros, errors)) in enumerate(points_by_label.items()):
        colour, reason = COLOURS[place % len(COLOURS)], reasons.get(label)
        _ours(axes, label, np.asarray(zeros), np.asarray(errors), colour)
        if reason is None:
            _our_fit(axes, label, np.asarray(zeros), np.asarray(errors), colour)
        else:
            axes.plot([], [], " ", label=f"{label}: no curve is fitted ({reason})")
    num_omitted = len(results) - sum(len(errors) for _, errors in points_by_label.values())
    if num_omitted:
        axes.plot([], [], " ", label=f"{count(num_omitted, 'network')} diverged or at chance: not drawn")
    # A fit may leave what errors there can be.
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("zeros among the hidden activations (%)")
    task = task_of(results[0].spec)
    axes.set_ylabel(f"test {task.noun} ({task.unit})" if task.unit else f"test {task.noun}")
    axes.set_title(_title(results), fontsize="medium")
    style_axes(axes)
    figure.legend(fontsize="small", frameon=False, loc="outside lower center", ncols=2)
    save(figure, path)


def paper_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sparsity and test error in percent of the 170 networks that can be told apart in the paper's Figure 3."""
    path = presets_folder() / "reference" / "glorot2011_figure3.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(float(row["sparsity_pct"]), float(row["test_error_pct"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error!r}", "install relubench again") from error
    array = np.array(rows)
    return array[:, 0], array[:, 1]


def _paper(axes: Axes) -> None:
    zeros, errors = paper_points()
    name = f"Glorot et al. 2011, Figure 3 (MNIST): {len(zeros)} networks"
    axes.plot(zeros, errors, "o", color="0.7", markersize=3.5, label=name)
    _fit(axes, zeros, errors, "0.5", "their fit of degree 2")


def _ours(axes: Axes, label: str, zeros: NDArray[np.float64], errors: NDArray[np.float64], colour: str) -> None:
    axes.plot(
        zeros, errors, "D", color=colour, markersize=4, alpha=0.8, label=f"{label}: {count(len(zeros), 'network')}"
    )


def _our_fit(axes: Axes, label: str, zeros: NDArray[np.float64], errors: NDArray[np.float64], colour: str) -> None:
    # A parabola over a gap without networks would show a minimum that nobody measured.
    in_range = zeros >= FIT_FROM if np.count_nonzero(zeros >= FIT_FROM) > LEAST_FITTED else np.ones_like(zeros, bool)
    if len(np.unique(zeros[in_range])) > DEGREE + 1:
        range_note = "" if in_range.all() else f", from {FIT_FROM:.0f} % on"
        _fit(axes, zeros[in_range], errors[in_range], colour, f"{label}: fit of degree 2{range_note}")
    fit = onset(list(zeros), list(errors))
    if fit is not None and fit.rises:
        axes.axvspan(fit.low, fit.high, color=colour, alpha=0.12, linewidth=0)
        axes.axvline(fit.at, color=colour, linewidth=1, linestyle=":", label=f"{label}: rises from {fit.at:.1f} % on")


def _fit(axes: Axes, zeros: NDArray[np.float64], errors: NDArray[np.float64], colour: str, name: str) -> None:
    line = np.linspace(zeros.min(), zeros.max(), 200)
    centre = zeros.mean()
    heights = np.polyval(np.polyfit(zeros - centre, errors, DEGREE), line - centre)
    axes.plot(line, heights, color=colour, linewidth=1.6, label=name)


def _title(results: Sequence[RunResult]) -> str:
    spec = results[0].spec
    return f"{spec['dataset']} · {spec['model']} · {spec['epochs']} epochs · batch {spec['batch_size']}"
