"""Validation scores against epochs and time: the curves of one network are one line with a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relubench.reports.figures.declaration import Figure, Panel, Scale, Series
from relubench.reports.figures.source import FigureSource, grouped, setting_word, settings_that_vary
from relubench.reports.formatting import join_names
from relubench.runs.result import RunResult

MOST_PANELS, MOST_LINES = 12, 30
"""More panels would be stamps, and more lines than this in a panel cannot be told apart."""


def curves_figure(source: FigureSource) -> Figure | None:
    """A line for each network, the mean over its seeds; None without a curve, or with too many settings for one."""
    scored = replace(
        source, runs=[run for run in source.runs if any(point.valid_score is not None for point in run.curve)]
    )
    varied = _varied(scored)
    panels = [panel for part in scored.by_task if part.runs for panel in _panels(part, varied)]
    if len(scored.by_task) == 1:
        panels += [*(_timed(scored) if len(panels) == 1 else ()), *_rates(source)]
    if not panels or len(panels) > MOST_PANELS or max(len(panel.series) for panel in panels) > MOST_LINES:
        return None
    return Figure(
        name="curves",
        title=f"Validation {source.noun} while the networks learn",
        subject=" · ".join(filter(None, (source.subject, _without_curve(source.runs)))),
        reading="A line is the mean over seeds, its band reaches from the lowest to the highest seed. A line ends "
        "where the first of its seeds ended.",
        panels=panels,
        keys=source.keys,
    )


def _without_curve(runs: Sequence[RunResult]) -> str:
    """Which runs have no curve, or one that ends early, and why."""
    names = [f"{run.spec['activation']} seed {run.spec['seed']}" for run in runs if run.outcome == "diverged"]
    failed = [
        run for run in runs if run.outcome != "diverged" and all(point.valid_score is None for point in run.curve)
    ]
    parts = [f"diverged: {join_names(names)}"] if names else []
    parts += [f"no curve: {join_names([str(run.spec['activation']) for run in failed])}"] if failed else []
    return "; ".join(parts)


def _varied(source: FigureSource) -> list[str]:
    """The settings that have a panel each."""
    by_variant = source.keys == source.variants
    return [name for name in settings_that_vary(source.runs) if not (by_variant and name == "variant")]


def _panels(source: FigureSource, varied: Sequence[str]) -> list[Panel]:
    """A panel for each setting of a task."""
    scores = _scores(source)
    settings = grouped(source.runs, *varied)
    y_scale = source.score_scale(scores)
    return [
        Panel(
            title=", ".join(setting_word(name, value) for name, value in zip(varied, setting, strict=True)),
            x_label="epochs trained",
            y_label=source.score_label("validation"),
            y_scale=y_scale,
            y_range=_common_range(scores, y_scale) if len(settings) > 1 else None,
            series=_lines(source, of_setting),
        )
        for setting, of_setting in settings.items()
    ]


def _timed(source: FigureSource) -> list[Panel]:
    """The same lines against the clock; nothing where a run has none."""
    lines = _lines(source, source.runs, timed=True)
    label, scale = source.score_label("validation"), source.score_scale(_scores(source))
    panel = Panel(x_label="training and validation time (s)", y_label=label, y_scale=scale, series=lines)
    return [panel] if lines else []


def _scores(source: FigureSource) -> list[float]:
    return [point.valid_score for run in source.runs for point in run.curve if point.valid_score is not None]


def _rates(source: FigureSource) -> list[Panel]:
    """A panel of what each activation's learning rate was chosen by; a rate at which nothing trained is a gap."""
    lines = []
    for tuning in source.tunings:
        key = tuning["activation"] if tuning["activation"] in source.keys else tuning["variant"]
        scores = [math.nan if score is None else float(score) for score in tuning["scores"]]
        lines.append(Series(label=key, key=key, x=tuning["rates"], y=scores))
        chosen = [(rate, score) for rate, score in zip(tuning["rates"], scores, strict=True) if rate == tuning["lr"]]
        x, y = zip(*chosen, strict=True)
        lines.append(Series(label="the rate that was chosen", key=key, x=x, y=y, mark="points", hollow=True))
    rates = sorted({rate for line in lines for rate in line.x})
    if not rates:
        return []
    return [
        Panel(
            title="the search for the learning rate",
            x_label="learning rate",
            y_label=f"best {source.score_label('validation')}",
            x_scale="log",
            x_ticks=rates,
            series=lines,
        )
    ]


def _common_range(scores: Sequence[float], scale: Scale) -> tuple[float, float]:
    """The ends of an axis that panels share: all scores, with a little room."""
    low, high = min(scores), max(scores)
    room = 0.05 * (high - low or 1.0)
    return (0.9 * low, 1.1 * high) if scale == "log" else (low - room, high + room)


def _lines(source: FigureSource, runs: Sequence[RunResult], *, timed: bool = False) -> list[Series]:
    lines = []
    for key in source.keys:
        runs_of_key = [run for run in runs if source.key_of(run) == key]
        if runs_of_key and (line := mean_curve(source, runs_of_key, timed=timed)):
            lines.append(line)
    return lines


def mean_curve(source: FigureSource, runs: Sequence[RunResult], *, timed: bool = False) -> Series | None:
    """The mean over seeds as far as all of them have a score; against the mean clock where `timed`."""
    curves = [[point.valid_score for point in run.curve] for run in runs]
    complete = min(next((epoch for epoch, score in enumerate(curve) if score is None), len(curve)) for curve in curves)
    if not complete:
        return None
    scores = np.array([curve[:complete] for curve in curves], dtype=float)
    x = np.arange(1.0, complete + 1)
    if timed:
        clocks = [source.timings[run.id].epoch_seconds for run in runs if run.id in source.timings]
        if len(clocks) < len(runs) or min(len(clock) for clock in clocks) < complete:
            return None
        x = np.array([clock[:complete] for clock in clocks]).mean(axis=0)
    several, key = len(runs) > 1, source.key_of(runs[0])
    return Series(
        label=key,
        key=key,
        x=x.tolist(),
        y=scores.mean(axis=0).tolist(),
        low=scores.min(axis=0).tolist() if several else (),
        high=scores.max(axis=0).tolist() if several else (),
        band=True,
    )
