"""Score against training time: the lowest error so far of each network, and the front of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relubench.reports.figures.curves import mean_curve
from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.source import FigureSource, grouped, setting_word, settings_that_vary
from relubench.runs.result import RunResult

MOST_LINES = 12


def pareto_figure(source: FigureSource) -> Figure | None:
    """A stepped line for each network; None without clocks, or where networks saw different data."""
    settings = grouped(source.runs, "activation", "model", "pretraining", "variant", "l1_asked")
    if len({run.spec.get("dataset") for run in source.runs}) != 1 or not 2 <= len(settings) <= MOST_LINES:
        return None
    lines = [_line(source, runs) for runs in settings.values()]
    if None in lines:
        return None
    timed_lines = [line for line in lines if line is not None]
    is_measured = any(row.get("seconds_per_epoch") for row in source.rows)
    front = _front(timed_lines, lower=source.task.lower_is_better)
    panel = Panel(
        x_label="training time (s), validation left out" if is_measured else "training and validation time (s)",
        y_label=source.score_label(f"{source.task.best} validation"),
        x_scale="log",
        y_scale="log" if min(min(line.y) for line in timed_lines) > 0 and source.task.unit != "dB" else "linear",
        series=[*timed_lines, front],
        # Lines of one colour could not be told apart.
        end_names=len({line.key for line in timed_lines}) < len(timed_lines),
    )
    return Figure(
        name="pareto",
        title=f"Which network has the {source.task.best} {source.task.noun} after a given time",
        subject=source.subject,
        reading=f"A line {'falls' if source.task.lower_is_better else 'rises'} whenever a network reaches a better "
        "score; the dashed front is the best of all of them. Times are of this machine, and of other work on it.",
        panels=[panel],
        keys=source.keys,
    )


def _line(source: FigureSource, runs: Sequence[RunResult]) -> Series | None:
    """The best score so far of one network against time; None where it has no clock."""
    curve = _timed_curve(source, runs)
    if curve is None:
        return None
    spec, key = runs[0].spec, source.key_of(runs[0])
    values = [(name, str(spec.get(name, ""))) for name in settings_that_vary(source.runs)]
    words = [setting_word(name, value) for name, value in values if value not in ("", "none")]
    label = ", ".join(dict.fromkeys([spec["activation"] if key not in words else key, *words]))
    best = _best_so_far(curve.y, lower=source.task.lower_is_better)
    return Series(label=label, key=key, x=curve.x, y=best, mark="steps")


def _timed_curve(source: FigureSource, runs: Sequence[RunResult]) -> Series | None:
    """The mean curve against time: the measured time of an epoch where steps were timed, else the runs' own clocks."""
    spec = runs[0].spec
    names = ("activation", "pretraining")
    rows = [row for row in source.rows if all(row.get(name) == spec.get(name, "none") for name in names)]
    per_epoch = rows[0].get("seconds_per_epoch") if source.command == "speed" and rows else None
    curve = mean_curve(source, runs, timed=per_epoch is None)
    if curve is None or per_epoch is None:
        return curve
    start = float(rows[0].get("pretraining_seconds") or 0.0)
    return replace(curve, x=[start + epoch * float(per_epoch) for epoch in curve.x])


def _best_so_far(scores: Sequence[float], *, lower: bool) -> list[float]:
    choose = min if lower else max
    return [choose(scores[: place + 1]) for place in range(len(scores))]


def _front(timed_lines: Sequence[Series], *, lower: bool) -> Series:
    """The points at which no network has been better."""
    points = sorted((x, y if lower else -y) for line in timed_lines for x, y in zip(line.x, line.y, strict=True))
    front: list[tuple[float, float]] = []
    for x, y in points:
        if not front or y < front[-1][1]:
            front.append((x, y))
    front.append((points[-1][0], front[-1][1]))
    return Series(
        label="the best of all",
        key="",
        x=[x for x, _ in front],
        y=[y if lower else -y for _, y in front],
        mark="steps",
        dashed=True,
    )
