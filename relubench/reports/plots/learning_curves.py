"""Learning curves as a figure: validation error against epochs and against seconds, a line for each activation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relubench.errors import ComputeError, UsageError
from relubench.experiments.rows import Tuning
from relubench.reports.formatting import count, listed
from relubench.reports.training.sensitivity import draw_sensitivity
from relubench.runs.result import RunResult, Timing
from relubench.system.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with any colour vision; its yellow is left out, too pale for a line on white."""
DASHES = ("-", "--", ":", "-.")
"""The next style begins when the colours have run out."""
IN_LEGEND = 7
"""Lines up to this many are named in a legend; more are named where they end, since colours no longer tell them."""
LABEL_GAP = 0.042
"""Least distance between two names at the ends of lines, as a share of the axis."""

LOG_SPREAD = 4.0
"""From this ratio of the highest to the lowest error on, the error axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation error of one row's seeds, in percent, by epoch; nan where a seed has none."""

    label: str
    runs: list[RunResult]
    errors: NDArray[np.float64]
    """[seed, epoch]"""
    seconds: NDArray[np.float64] | None
    """Mean over seeds at the end of each epoch, [epoch]; None where a seed has no clock."""

    @property
    def complete(self) -> int:
        """Epochs that every seed has."""
        known = ~np.isnan(self.errors).any(axis=0)
        return int(known.argmin()) if not known.all() else known.size


def plot_curves(
    results: Sequence[RunResult], timings: Mapping[str, Timing | None], path: Path, tuned: Sequence[Tuning] = ()
) -> None:
    """Writes the learning curves to `path` as png, svg or pdf, by its suffix; with `tuned` a panel of learning rates.

    A line is the mean over seeds, its band the lowest to the highest of them; where seeds have ended it goes on dotted,
    over the rest. A diamond is the mean test error, at the mean best epoch; a cross is where a training diverged.
    Raises UsageError for another suffix, ComputeError if no run has a curve or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = f"end the file's name in {', '.join(SUFFIXES)}"
        raise UsageError(f"cannot plot to {path.name!r}: its suffix names no format that is known here", hint)
    curves, without = _curves(results, timings)
    if not curves:
        raise ComputeError("no run has a learning curve to plot", "see why with `relubench show run ID`")
    save(_draw(curves, without, tuned), path)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole or not at all, in the format of the suffix; ComputeError if the file cannot be written."""
    try:
        # Without a date and random ids the same results give the same file.
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix.lower()[1:], dpi=150, metadata=metadata)
        write_file(path, drawn.getvalue())
    except OSError as error:
        raise ComputeError(f"cannot write {path}: {error.strerror or error}", "choose another file") from error


def _curves(results: Sequence[RunResult], timings: Mapping[str, Timing | None]) -> tuple[list[Curve], list[RunResult]]:
    """One curve for each label, in order of appearance, and the runs that have no point."""
    differing = [
        key
        for key in ("dataset", "model", "pretraining", "l1")
        if len({str(one.spec.get(key, "none")) for one in results}) > 1
    ]
    # A variant's label says all of that.
    named = len({one.spec.get("variant", "") for one in results}) > 1
    rows: dict[str, list[RunResult]] = {}
    without = []
    for one in results:
        if any(point.valid_error_pct is not None for point in one.curve):
            extra = "".join(f", {key} {one.spec.get(key, 'none')}" for key in differing)
            extra = f", {one.spec.get('variant')}" if named else extra
            rows.setdefault(one.spec["activation"] + extra, []).append(one)
        else:
            without.append(one)
    return [_curve(label, runs, timings) for label, runs in rows.items()], without


def _curve(label: str, runs: list[RunResult], timings: Mapping[str, Timing | None]) -> Curve:
    epochs = max(point.epoch for one in runs for point in one.curve)
    errors, clock = np.full((len(runs), epochs), np.nan), np.full((len(runs), epochs), np.nan)
    for row, one in enumerate(runs):
        timing = timings.get(one.id)
        for point in one.curve:
            if point.valid_error_pct is not None:
                errors[row, point.epoch - 1] = point.valid_error_pct
            if timing is not None and point.epoch <= len(timing.epoch_seconds):
                clock[row, point.epoch - 1] = timing.epoch_seconds[point.epoch - 1]
    timed = not (np.isnan(clock) & ~np.isnan(errors)).any()
    return Curve(label, runs, errors, _over_seeds(clock) if timed else None)


def _over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the seeds that have a value; nan where none has."""
    known = ~np.isnan(values)
    total, number = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def _draw(curves: Sequence[Curve], without: Sequence[RunResult], tuned: Sequence[Tuning]) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    named_in_legend = len(curves) <= IN_LEGEND
    rows = -(-((len(curves) if named_in_legend else 0) + 2) // 4)
    height = 4.4 + 0.22 * rows if named_in_legend else max(4.8, 0.19 * len(curves))
    figure = Figure(figsize=(10 + 4 * bool(tuned), height), layout="constrained")
    left, right, *others = figure.subplots(1, 3 if tuned else 2)
    right.sharey(left)
    right.tick_params(labelleft=False)
    looks = [_look(place) for place in range(len(curves))]
    for curve, look in zip(curves, looks, strict=True):
        _line(left, curve, np.arange(1.0, curve.errors.shape[1] + 1), look)
        if curve.seconds is not None:
            _line(right, curve, curve.seconds, look)
    if tuned:
        draw_sensitivity(others[0], tuned, {_tuned_as(one): look for one, look in zip(curves, looks, strict=True)})
        _error_axis(others[0], [error for one in tuned for error in one.errors.values() if error is not None])
    _axes(left, right, curves)
    for axes in (left, right, *others):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    untimed = [one.label for one in curves if one.seconds is None]
    if untimed:
        right.set_title(f"not timed: {listed(untimed)}", fontsize="small")
    handles, labels = left.get_legend_handles_labels() if named_in_legend else ([], [])
    if not named_in_legend:
        _name_ends(left, curves, looks)
    extra, words = _key(curves)
    figure.legend(
        [*handles, *extra], [*labels, *words], loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    figure.suptitle(_title(curves, without), fontsize="medium")
    return figure


def _tuned_as(curve: Curve) -> tuple[str, str]:
    """The variant and the activation of a line: what its learning rate was searched for."""
    spec = curve.runs[0].spec
    return spec.get("variant", ""), spec["activation"]


def _look(place: int) -> dict[str, str]:
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place // len(COLOURS) % len(DASHES)]}


def _name_ends(axes: Axes, curves: Sequence[Curve], looks: Sequence[dict[str, str]]) -> None:
    """Each line's name at its right, in the order of the ends, apart from each other, with a thin line to its end."""
    ends = [(curve.errors.shape[1], _over_seeds(curve.errors)) for curve in curves]
    points = [(x, float(mean[~np.isnan(mean)][-1])) for x, mean in ends]
    to_axes = axes.transAxes.inverted()
    heights = [float(to_axes.transform(axes.transData.transform(point))[1]) for point in points]
    order = sorted(range(len(curves)), key=lambda one: heights[one])
    for place, height in zip(order, _apart([heights[one] for one in order]), strict=True):
        arrow: dict[str, Any] = {
            "arrowstyle": "-",
            "color": looks[place]["color"],
            "linewidth": 0.6,
            "shrinkA": 1,
            "shrinkB": 2,
        }
        arrow["relpos"] = (0, 0.5)
        axes.annotate(
            curves[place].label,
            xy=points[place],
            xytext=(1.06, height),
            textcoords="axes fraction",
            color=looks[place]["color"],
            fontsize="x-small",
            va="center",
            arrowprops=arrow,
            annotation_clip=False,
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights, 0 to 1, moved until none is nearer to the next than LABEL_GAP: half upwards, half downwards."""
    gap = min(LABEL_GAP, 1 / len(heights))
    above, below = list(heights), list(heights)
    for place in range(1, len(heights)):
        above[place] = max(above[place], above[place - 1] + gap)
        below[-place - 1] = min(below[-place - 1], below[-place] - gap)
    middle = [(up + down) / 2 for up, down in zip(above, below, strict=True)]
    shift = max(0.0, -middle[0]) - max(0.0, middle[-1] - 1)
    return [one + shift for one in middle]


def _line(axes: Axes, curve: Curve, x: NDArray[np.float64], look: dict[str, str]) -> None:
    colour, whole, mean = look["color"], curve.complete, _over_seeds(curve.errors)
    # A single point is no line: without a dot, one epoch would be invisible.
    marker = {"marker": "o", "markersize": 4 if whole == 1 else 2.5}
    axes.plot(x[:whole], mean[:whole], label=curve.label, linewidth=1.6, **look, **marker)
    if whole < x.size:
        start = max(whole - 1, 0)
        axes.plot(x[start:], mean[start:], color=colour, linestyle=(0, (1, 2)), linewidth=1.2)
    if len(curve.runs) > 1 and whole > 1:
        lowest, highest = curve.errors[:, :whole].min(axis=0), curve.errors[:, :whole].max(axis=0)
        axes.fill_between(x[:whole], lowest, highest, color=colour, alpha=0.15, linewidth=0)
    for row, one in enumerate(curve.runs):
        known = np.flatnonzero(~np.isnan(curve.errors[row]))
        if one.outcome == "diverged" and known.size:
            axes.plot(x[known[-1]], curve.errors[row, known[-1]], marker="X", color=colour, markersize=9, linestyle="")
    tested = [one for one in curve.runs if one.test_error_pct is not None and one.best_epoch is not None]
    if tested:
        best = float(np.mean([one.best_epoch for one in tested if one.best_epoch is not None]))
        error = float(np.mean([one.test_error_pct for one in tested if one.test_error_pct is not None]))
        at = float(np.interp(best, np.arange(1.0, x.size + 1), x))
        axes.plot(at, error, marker="D", color=colour, markersize=6.5, markeredgecolor="white", linestyle="", zorder=5)


def _axes(left: Axes, right: Axes, curves: Sequence[Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    _error_axis(left, np.concatenate([one.errors[~np.isnan(one.errors)] for one in curves]).tolist())
    left.set_xlabel("epochs trained")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("training and validation time (s)")
    left.set_xlim(0, 1.03 * max(one.errors.shape[1] for one in curves) + 0.2)
    right.set_xlim(left=0)


def _error_axis(axes: Axes, shown: Sequence[float]) -> None:
    """The vertical axis, logarithmic where the errors spread far."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    axes.set_ylabel("error (% of examples)")
    if min(shown) > 0 and max(shown) / min(shown) >= LOG_SPREAD:
        axes.set_ylabel("error (% of examples, logarithmic)")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(_log_ticks())
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())


def _log_ticks() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


def _key(curves: Sequence[Curve]) -> tuple[list[Any], list[str]]:
    """Legend entries for the marks that the figure uses."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    runs = [run for one in curves for run in one.runs]
    found: list[tuple[Any, str]] = []
    if any(len(one.runs) > 1 for one in curves):
        found.append((Patch(color="0.5", alpha=0.3, linewidth=0), "lowest to highest seed"))
    if any(one.complete < one.errors.shape[1] for one in curves):
        found.append((Line2D([], [], color="0.3", linestyle=(0, (1, 2))), "mean of the seeds left"))
    if any(one.test_error_pct is not None for one in runs):
        found.append((Line2D([], [], color="0.3", marker="D", linestyle=""), "test error, at the best epoch"))
    if any(one.outcome == "diverged" for one in runs):
        found.append((Line2D([], [], color="0.3", marker="X", linestyle="", markersize=8), "diverged after this epoch"))
    return [one for one, _ in found], [words for _, words in found]


def _title(curves: Sequence[Curve], without: Sequence[RunResult]) -> str:
    """What all runs share, and which runs have no curve."""
    runs = [run for one in curves for run in one.runs]
    parts = []
    for key in ("dataset", "model"):
        values = {one.spec.get(key) for one in runs}
        parts += [str(value) for value in values if len(values) == 1]
    parts.append(f"validation error, {count(max(len(one.runs) for one in curves), 'seed')}")
    if without:
        names = [f"{one.spec['activation']} seed {one.spec['seed']} ({one.outcome})" for one in without]
        parts.append(f"no curve: {listed(names)}")
    return " · ".join(parts)
