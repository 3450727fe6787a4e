"""Learning curves as a figure: validation score against epochs and against seconds, a line for each activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relubench.errors import ComputeError, UsageError
from relubench.experiments.rows import Tuning
from relubench.reports.formatting import count, join_names
from relubench.reports.plots.figure import LOG_SPREAD, SUFFIXES, line_style, save, style_axes
from relubench.reports.training.sensitivity import draw_sensitivity
from relubench.runs.result import RunResult, Timing
from relubench.runs.task import Task, task_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_LEGEND = 7
"""Lines up to this many are named in a legend; more are named where they end, since colours repeat."""
LABEL_GAP = 0.042
"""Least distance between two names at the ends of lines, as a share of the axis."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation scores of one row's seeds by epoch; nan where a seed has none."""

    label: str
    runs: list[RunResult]
    errors: NDArray[np.float64]
    """[seed, epoch]"""
    seconds: NDArray[np.float64] | None
    """Mean over seeds at the end of each epoch, [epoch]; None where a seed has no clock."""

    @property
    def task(self) -> Task:
        return task_of(self.runs[0].spec)

    @property
    def complete(self) -> int:
        """Epochs that every seed has."""
        has_error = ~np.isnan(self.errors).any(axis=0)
        return int(has_error.argmin()) if not has_error.all() else has_error.size


def plot_curves(
    results: Sequence[RunResult], timings: Mapping[str, Timing | None], path: Path, tunings: Sequence[Tuning] = ()
) -> None:
    """Writes the learning curves to `path` as png, svg or pdf, by its suffix; with `tunings` a panel of learning rates.

    A line is the mean over seeds, its band the lowest to the highest of them; where seeds have ended it goes on dotted,
    over the rest. A diamond is the mean test score, at the mean best epoch; a cross is where a training diverged.
    Raises UsageError for another suffix, ComputeError if no run has a curve or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = f"end the file's name in {', '.join(SUFFIXES)}"
        raise UsageError(f"cannot plot to {path.name!r}: its suffix names no format that is known here", hint)
    curves, runs_without_curve = _curves(results, timings)
    if not curves:
        raise ComputeError("no run has a learning curve to plot", "see why with `relubench show run ID`")
    save(_draw(curves, runs_without_curve, tunings), path)


def _curves(results: Sequence[RunResult], timings: Mapping[str, Timing | None]) -> tuple[list[Curve], list[RunResult]]:
    """One curve for each label, in order of appearance, and the runs that have no point."""
    varied_keys = [
        key
        for key in ("dataset", "model", "pretraining", "l1")
        if len({str(result.spec.get(key, "none")) for result in results}) > 1
    ]
    # A variant's label says all of that.
    by_variant = len({result.spec.get("variant", "") for result in results}) > 1
    rows: dict[str, list[RunResult]] = {}
    runs_without_curve = []
    for result in results:
        if any(point.valid_score is not None for point in result.curve):
            extra = "".join(f", {key} {result.spec.get(key, 'none')}" for key in varied_keys)
            extra = f", {result.spec.get('variant')}" if by_variant else extra
            rows.setdefault(result.spec["activation"] + extra, []).append(result)
        else:
            runs_without_curve.append(result)
    return [_curve(label, runs, timings) for label, runs in rows.items()], runs_without_curve


def _curve(label: str, runs: list[RunResult], timings: Mapping[str, Timing | None]) -> Curve:
    epochs = max(point.epoch for run in runs for point in run.curve)
    errors, clock = np.full((len(runs), epochs), np.nan), np.full((len(runs), epochs), np.nan)
    for row, run in enumerate(runs):
        timing = timings.get(run.id)
        for point in run.curve:
            if point.valid_score is not None:
                errors[row, point.epoch - 1] = point.valid_score
            if timing is not None and point.epoch <= len(timing.epoch_seconds):
                clock[row, point.epoch - 1] = timing.epoch_seconds[point.epoch - 1]
    is_timed = not (np.isnan(clock) & ~np.isnan(errors)).any()
    return Curve(label, runs, errors, _over_seeds(clock) if is_timed else None)


def _over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the seeds that have a value; nan where none has."""
    has_value = ~np.isnan(values)
    total, number = np.where(has_value, values, 0).sum(axis=0), has_value.sum(axis=0)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def _draw(curves: Sequence[Curve], runs_without_curve: Sequence[RunResult], tunings: Sequence[Tuning]) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "relubench"
    uses_legend = len(curves) <= IN_LEGEND
    rows = -(-((len(curves) if uses_legend else 0) + 2) // 4)
    height = 4.4 + 0.22 * rows if uses_legend else max(4.8, 0.19 * len(curves))
    figure = Figure(figsize=(10 + 4 * bool(tunings), height), layout="constrained")
    epoch_axes, time_axes, *tuning_axes = figure.subplots(1, 3 if tunings else 2)
    time_axes.sharey(epoch_axes)
    time_axes.tick_params(labelleft=False)
    looks = [line_style(place) for place in range(len(curves))]
    for curve, look in zip(curves, looks, strict=True):
        _line(epoch_axes, curve, np.arange(1.0, curve.errors.shape[1] + 1), look)
        if curve.seconds is not None:
            _line(time_axes, curve, curve.seconds, look)
    if tunings:
        draw_sensitivity(
            tuning_axes[0], tunings, {_tuned_as(curve): look for curve, look in zip(curves, looks, strict=True)}
        )
        tuned_scores = [score for tuning in tunings for score in tuning.errors.values() if score is not None]
        _score_axis(tuning_axes[0], tuned_scores, curves[0].task)
    _axes(epoch_axes, time_axes, curves)
    for axes in (epoch_axes, time_axes, *tuning_axes):
        style_axes(axes)
    without_times = [curve.label for curve in curves if curve.seconds is None]
    if without_times:
        time_axes.set_title(f"not timed: {join_names(without_times)}", fontsize="small")
    handles, labels = epoch_axes.get_legend_handles_labels() if uses_legend else ([], [])
    if not uses_legend:
        _name_ends(epoch_axes, curves, looks)
    extra, words = _key(curves)
    figure.legend(
        [*handles, *extra], [*labels, *words], loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    figure.suptitle(_title(curves, runs_without_curve), fontsize="medium")
    return figure


def _tuned_as(curve: Curve) -> tuple[str, str]:
    """The variant and the activation of a line: what its learning rate was searched for."""
    spec = curve.runs[0].spec
    return spec.get("variant", ""), spec["activation"]


def _name_ends(axes: Axes, curves: Sequence[Curve], looks: Sequence[dict[str, str]]) -> None:
    """Each line's name at its right, in the order of the ends, apart from each other, with a thin line to its end."""
    ends = [(curve.errors.shape[1], _over_seeds(curve.errors)) for curve in curves]
    points = [(x, float(mean[~np.isnan(mean)][-1])) for x, mean in ends]
    to_axes = axes.transAxes.inverted()
    heights = [float(to_axes.transform(axes.transData.transform(point))[1]) for point in points]
    order = sorted(range(len(curves)), key=lambda index: heights[index])
    for place, height in zip(order, _apart([heights[index] for index in order]), strict=True):
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
    return [height + shift for height in middle]


def _line(axes: Axes, curve: Curve, x: NDArray[np.float64], look: dict[str, str]) -> None:
    colour, num_complete, mean = look["color"], curve.complete, _over_seeds(curve.errors)
    # A single point is no line: without a dot, one epoch would be invisible.
    marker = {"marker": "o", "markersize": 4 if num_complete == 1 else 2.5}
    axes.plot(x[:num_complete], mean[:num_complete], label=curve.label, linewidth=1.6, **look, **marker)
    if num_complete < x.size:
        start = max(num_complete - 1, 0)
        axes.plot(x[start:], mean[start:], color=colour, linestyle=(0, (1, 2)), linewidth=1.2)
    if len(curve.runs) > 1 and num_complete > 1:
        lowest, highest = curve.errors[:, :num_complete].min(axis=0), curve.errors[:, :num_complete].max(axis=0)
        axes.fill_between(x[:num_complete], lowest, highest, color=colour, alpha=0.15, linewidth=0)
    for row, run in enumerate(curve.runs):
        epochs = np.flatnonzero(~np.isnan(curve.errors[row]))
        if run.outcome == "diverged" and epochs.size:
            axes.plot(
                x[epochs[-1]], curve.errors[row, epochs[-1]], marker="X", color=colour, markersize=9, linestyle=""
            )
    tested = [run for run in curve.runs if run.test_score is not None and run.best_epoch is not None]
    if tested:
        best = float(np.mean([run.best_epoch for run in tested if run.best_epoch is not None]))
        error = float(np.mean([run.test_score for run in tested if run.test_score is not None]))
        best_x = float(np.interp(best, np.arange(1.0, x.size + 1), x))
        axes.plot(
            best_x, error, marker="D", color=colour, markersize=6.5, markeredgecolor="white", linestyle="", zorder=5
        )


def _axes(epoch_axes: Axes, time_axes: Axes, curves: Sequence[Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    scores = np.concatenate([curve.errors[~np.isnan(curve.errors)] for curve in curves]).tolist()
    _score_axis(epoch_axes, scores, curves[0].task)
    epoch_axes.set_xlabel("epochs trained")
    epoch_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    time_axes.set_xlabel("training and validation time (s)")
    epoch_axes.set_xlim(0, 1.03 * max(curve.errors.shape[1] for curve in curves) + 0.2)
    time_axes.set_xlim(left=0)


def _score_axis(axes: Axes, scores: Sequence[float], task: Task) -> None:
    """The vertical axis, logarithmic where the errors spread far."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    details = [f"{task.unit} of examples"] if task.unit == "%" else [task.unit] if task.unit else []
    if is_logarithmic := min(scores) > 0 and max(scores) / min(scores) >= LOG_SPREAD:
        details.append("logarithmic")
    axes.set_ylabel(f"{task.noun} ({', '.join(details)})" if details else task.noun)
    if is_logarithmic:
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

    runs = [run for curve in curves for run in curve.runs]
    marks: list[tuple[Any, str]] = []
    if any(len(curve.runs) > 1 for curve in curves):
        marks.append((Patch(color="0.5", alpha=0.3, linewidth=0), "lowest to highest seed"))
    if any(curve.complete < curve.errors.shape[1] for curve in curves):
        marks.append((Line2D([], [], color="0.3", linestyle=(0, (1, 2))), "mean of the seeds left"))
    if any(run.test_score is not None for run in runs):
        label = f"test {curves[0].task.noun}, at the best epoch"
        marks.append((Line2D([], [], color="0.3", marker="D", linestyle=""), label))
    if any(run.outcome == "diverged" for run in runs):
        marks.append((Line2D([], [], color="0.3", marker="X", linestyle="", markersize=8), "diverged after this epoch"))
    return [handle for handle, _ in marks], [words for _, words in marks]


def _title(curves: Sequence[Curve], runs_without_curve: Sequence[RunResult]) -> str:
    """What all runs share, and which runs have no curve."""
    runs = [run for curve in curves for run in curve.runs]
    parts = []
    for key in ("dataset", "model"):
        values = {run.spec.get(key) for run in runs}
        parts += [str(value) for value in values if len(values) == 1]
    parts.append(f"validation {curves[0].task.noun}, {count(max(len(curve.runs) for curve in curves), 'seed')}")
    if runs_without_curve:
        names = [f"{run.spec['activation']} seed {run.spec['seed']} ({run.outcome})" for run in runs_without_curve]
        parts.append(f"no curve: {join_names(names)}")
    return " · ".join(parts)
