"""Scores against time: every epoch of every network, and the front of those that nobody beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from relubench.runs.result import RunResult, Timing
from relubench.runs.task import task_of
from relubench.timing.step_times import StepTime

Clocks = Mapping[str, Timing | None]
"""The timing of each run, by its id; None where it was lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The end of an epoch, with the best validation score up to then, the median over the seeds."""

    activation: str
    epoch: int
    seconds: float
    valid_error_pct: float | None
    """The score where it is an error in percent."""
    valid_metric: float
    """The score, in the unit of the task's metric."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def by_row(results: Sequence[RunResult]) -> dict[tuple[str, str], list[RunResult]]:
    """The runs of each row: (activation, pretraining)."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for run in results:
        groups.setdefault((run.spec["activation"], run.spec.get("pretraining", "none")), []).append(run)
    return groups


def label(key: tuple[str, str]) -> str:
    """The name of a row: 'sigmoid', or 'sigmoid + rbm'."""
    return key[0] if key[1] == "none" else f"{key[0]} + {key[1]}"


def pretraining(key: tuple[str, str], runs: Sequence[RunResult], clocks: Clocks) -> float | None:
    """The median seconds of pre-training over the seeds; 0 without pre-training, None where a timing was lost."""
    if key[1] == "none":
        return 0.0
    run_timings = [clocks.get(run.id) for run in runs]
    return median_of([timing.pretraining_seconds if timing else None for timing in run_timings])


def points(
    results: Sequence[RunResult], step_times: Mapping[str, StepTime], images: int, clocks: Clocks
) -> list[Point]:
    """Every epoch of every row whose network was timed, as far as all of its seeds have one."""
    curve_points: list[Point] = []
    for key, runs in by_row(results).items():
        step_time, pretraining_seconds = step_times.get(key[0]), pretraining(key, runs, clocks)
        if step_time is None or step_time.us_per_image is None or pretraining_seconds is None:
            continue
        # A network that does not learn reaches no error fast.
        if any(run.outcome != "ok" for run in runs):
            continue
        best_scores = [_best_scores(run) for run in runs]
        for epoch in range(1, min(len(scores) for scores in best_scores) + 1):
            score = float(median(scores[epoch - 1] for scores in best_scores))
            curve_points.append(
                Point(
                    activation=label(key),
                    epoch=epoch,
                    seconds=pretraining_seconds + epoch * images * step_time.us_per_image / 1e6,
                    valid_error_pct=score if runs[0].valid_error_pct is not None else None,
                    valid_metric=score,
                )
            )
    return curve_points


def front(candidates: Sequence[Point], *, lower_is_better: bool = True) -> list[Point]:
    """The Pareto front: the points that no other point equals or beats in score at the same or an earlier time."""
    sign = 1.0 if lower_is_better else -1.0
    leaders: list[Point] = []
    for point in sorted(candidates, key=lambda point: (point.seconds, sign * point.valid_metric)):
        if not leaders or sign * point.valid_metric < sign * leaders[-1].valid_metric:
            leaders.append(point)
    return leaders


def _best_scores(run: RunResult) -> list[float]:
    """The best validation score up to each epoch, until the first epoch without one."""
    best = min if task_of(run.spec).lower_is_better else max
    scores: list[float] = []
    for point in run.curve:
        if point.valid_score is None:
            break
        scores.append(best(point.valid_score, scores[-1]) if scores else point.valid_score)
    return scores


def median_of(values: Sequence[float | None]) -> float | None:
    """The median; None where any is missing, or there are none."""
    numbers = [value for value in values if value is not None]
    return float(median(numbers)) if numbers and len(numbers) == len(values) else None
