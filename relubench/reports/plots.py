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
from relubench.reports.cells import count, listed
from relubench.results import RunResult, Timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with any colour vision; its yellow is left out, too pale for a line on white."""
DASHES = ("-", "--", ":", "-.")
"""The next style begins when the colours have run out."""

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


def plot_curves(results: Sequence[RunResult], timings: Mapping[str, Timing | None], path: Path) -> None:
    """Writes the learning curves to `path` as png, svg or pdf, by its suffix.

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
    save(_draw(curves, without), path)


def save(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all, in the format of the path's suffix; ComputeError if it cannot be."""
    try:
        # Without a date and random ids the same results give the same file.
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix.lower()[1:], dpi=150, metadata=metadata)
        fresh = path.with_name(f".{path.name}.part")
        try:
            fresh.write_bytes(drawn.getvalue())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ComputeError(f"cannot write {path}: {error.strerror or error}", "choose another file") from error


def _curves(results: Sequence[RunResult], timings: Mapping[str, Timing | None]) -> tuple[list[Curve], list[RunResult]]:
    """One curve for each label, in order of appearance, and the runs that have no point."""
    differing = [
        key
        for key in ("dataset", "model", "pretraining", "l1")
        if len({str(one.spec.get(key, "none")) for one in results}) > 1
    ]
    rows: dict[str, list[RunResult]] = {}
    without = []
    for one in results:
        if any(point.valid_error_pct is not None for point in one.curve):
            extra = "".join(f", {key} {one.spec.get(key, 'none')}" for key in differing)
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


def _draw(curves: Sequence[Curve], without: Sequence[RunResult]) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    rows = -(-(len(curves) + 2) // 4)
    figure = Figure(figsize=(10, 4.4 + 0.22 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    untimed = [one.label for one in curves if one.seconds is None]
    for place, curve in enumerate(curves):
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place // len(COLOURS) % len(DASHES)]}
        longest = curve.errors.shape[1]
        _line(left, curve, np.arange(1.0, longest + 1), look)
        if curve.seconds is not None:
            _line(right, curve, curve.seconds, look)
    _axes(left, right, curves)
    if untimed:
        right.set_title(f"not timed: {listed(untimed)}", fontsize="small")
    handles, labels = left.get_legend_handles_labels()
    extra, words = _key(curves)
    figure.legend(
        [*handles, *extra], [*labels, *words], loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    figure.suptitle(_title(curves, without), fontsize="medium")
    return figure


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
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    shown = np.concatenate([one.errors[~np.isnan(one.errors)] for one in curves])
    left.set_ylabel("error (% of examples)")
    if shown.min() > 0 and shown.max() / shown.min() >= LOG_SPREAD:
        left.set_ylabel("error (% of examples, logarithmic)")
        left.set_yscale("log")
        left.yaxis.set_major_locator(_log_ticks())
        left.yaxis.set_major_formatter(ScalarFormatter())
        left.yaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("epochs trained")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("training and validation time (s)")
    left.set_xlim(0, 1.03 * max(one.errors.shape[1] for one in curves) + 0.2)
    right.set_xlim(left=0)
    for axes in (left, right):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)


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
