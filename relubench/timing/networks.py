"""How fast networks train, activation by activation: time in each stage, an epoch, and until an error is reached.

The time of an image is measured now (`timing.steps`), in rounds in which every network takes its turn; the number of
epochs to an error comes from the learning curves, which other processes cannot slow down. The total is their product:
epochs times training images times the time of an image, without validation. Pre-training adds the seconds of its own
clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from relubench.runs.result import RunResult, Timing
from relubench.timing.step_times import StepTime
from relubench.timing.steps import STAGES

ARTICLE_BASE = "sigmoid"
"""The base of the article's ratios; ratios to it have keys of their own."""

Clocks = Mapping[str, Timing | None]
"""The timing of each run, by its id; None where it was lost."""

Article = Mapping[tuple[str, str, str], float]
"""(activation, pretraining, metric) -> value of the article's speed table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """One activation: medians over its seeds. Missing is None."""

    activation: str
    dataset: str
    model: str
    pretraining: str
    n: int
    outcome: str
    images_per_second: float | None = None
    data_us_per_image: float | None = None
    forward_us_per_image: float | None = None
    backward_us_per_image: float | None = None
    update_us_per_image: float | None = None
    seconds_per_epoch: float | None = None
    """All training images, without validation."""
    pretraining_seconds: float | None = None
    """As measured during pre-training, while other work may have shared the machine."""
    target_error_pct: float | None = None
    """On the validation set."""
    epochs_to_target: float | None = None
    seconds_to_target: float | None = None
    """Pre-training included."""
    best_valid_error_pct: float | None = None
    seconds_to_best: float | None = None
    pareto: bool | None = None
    """Whether at some time of its training no other activation had a lower error."""
    ratio_to: str = ""
    """The base of the ratios: the first activation of the command."""
    epoch_ratio: float | None = None
    epoch_ratio_ci_low: float | None = None
    epoch_ratio_ci_high: float | None = None
    verdict: str | None = None
    """On the time of an epoch: faster, slower or no difference, judged by the A/A control's band."""
    epochs_ratio: float | None = None
    seconds_ratio: float | None = None
    epoch_ratio_to_sigmoid: float | None = None
    epochs_ratio_to_sigmoid: float | None = None
    seconds_ratio_to_sigmoid: float | None = None
    """The three ratios again, if the base is sigmoid."""
    article_epoch_ratio: float | None = None
    article_epochs_ratio: float | None = None
    article_hours_ratio: float | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The end of an epoch, with the lowest validation error up to then, the median over the seeds."""

    activation: str
    epoch: int
    seconds: float
    valid_error_pct: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lowest_common_target(results: Sequence[RunResult]) -> float | None:
    """The lowest validation error that every run reaches, in percent; None without any."""
    best = [
        result.valid_error_pct for result in results if result.valid_error_pct is not None and result.outcome == "ok"
    ]
    return max(best, default=None)


def epochs_to(result: RunResult, target: float) -> int | None:
    """The first epoch with that validation error or less; None if there is none."""
    epochs = (
        point.epoch for point in result.curve if point.valid_error_pct is not None and point.valid_error_pct <= target
    )
    return next(epochs, None)


def network_rows(
    results: Sequence[RunResult],
    step_times: Mapping[str, StepTime],
    images: int,
    target: float | None,
    article: Article,
    clocks: Clocks,
) -> list[NetworkRow]:
    """A row for each activation and pre-training, with ratios to the first; `images` are those of an epoch."""
    groups = by_row(results)
    facts_by_row = {
        key: _facts(runs, step_times.get(key[0]), images, target, pretraining(key, runs, clocks))
        for key, runs in groups.items()
    }
    base = next(iter(groups))
    on_front = {point.activation for point in front(points(results, step_times, images, clocks))}
    rows = []
    for key, facts in facts_by_row.items():
        ratio = step_times[key[0]].ratio if key[0] in step_times else None
        compared: dict[str, Any] = {
            "epoch_ratio": ratio.median if ratio else _facts_ratio(facts, facts_by_row[base], "seconds_per_epoch"),
            "epochs_ratio": _facts_ratio(facts, facts_by_row[base], "epochs_to_target"),
            "seconds_ratio": _facts_ratio(facts, facts_by_row[base], "seconds_to_target"),
        }
        if base == (ARTICLE_BASE, "none"):
            compared |= {f"{name}_to_sigmoid": value for name, value in compared.items()}
        compared |= {
            "article_epoch_ratio": _article_ratio(article, key, base, "epoch_time_cpu"),
            "article_epochs_ratio": _article_ratio(article, key, base, "convergence"),
            "article_hours_ratio": _article_ratio(article, key, base, "total_time"),
        }
        pareto = label(key) in on_front if facts["seconds_per_epoch"] is not None else None
        rows.append(NetworkRow(**{**facts, **compared}, ratio_to=label(base), target_error_pct=target, pareto=pareto))
    return rows


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
    return _median([timing.pretraining_seconds if timing else None for timing in run_timings])


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
        lowest_errors = [_lowest_errors(run) for run in runs]
        for epoch in range(1, min(len(errors) for errors in lowest_errors) + 1):
            error = median(errors[epoch - 1] for errors in lowest_errors)
            seconds = pretraining_seconds + epoch * images * step_time.us_per_image / 1e6
            curve_points.append(
                Point(activation=label(key), epoch=epoch, seconds=seconds, valid_error_pct=float(error))
            )
    return curve_points


def front(candidates: Sequence[Point]) -> list[Point]:
    """The Pareto front: the points that no other point equals or beats in error at the same or an earlier time."""
    leaders: list[Point] = []
    for point in sorted(candidates, key=lambda point: (point.seconds, point.valid_error_pct)):
        if not leaders or point.valid_error_pct < leaders[-1].valid_error_pct:
            leaders.append(point)
    return leaders


def _lowest_errors(run: RunResult) -> list[float]:
    """The lowest validation error up to each epoch, until the first epoch without one."""
    errors: list[float] = []
    for point in run.curve:
        if point.valid_error_pct is None:
            break
        errors.append(min(point.valid_error_pct, errors[-1]) if errors else point.valid_error_pct)
    return errors


def _facts(
    runs: Sequence[RunResult],
    step_time: StepTime | None,
    images: int,
    target: float | None,
    pretraining_seconds: float | None,
) -> dict[str, Any]:
    spec = runs[0].spec
    step_time = step_time or StepTime(stages={})
    seconds_per_epoch = images * step_time.us_per_image / 1e6 if step_time.us_per_image is not None else None
    # If a seed never reaches the target, the median is unknown, not smaller.
    epochs = _median([epochs_to(run, target) for run in runs]) if target is not None else None
    to_best = _median([run.best_epoch for run in runs])
    failed_run = next((run for run in runs if run.outcome != "ok"), None)
    return {
        "activation": spec["activation"],
        "dataset": spec["dataset"],
        "model": spec["model"],
        "pretraining": spec.get("pretraining", "none"),
        "n": sum(run.outcome == "ok" for run in runs),
        "outcome": failed_run.outcome if failed_run is not None else "failed" if step_time.failure else "ok",
        "message": failed_run.message if failed_run is not None else step_time.failure,
        "images_per_second": 1e6 / step_time.us_per_image if step_time.us_per_image else None,
        **{f"{name}_us_per_image": step_time.stages.get(name) for name in STAGES},
        "seconds_per_epoch": seconds_per_epoch,
        "pretraining_seconds": None if spec.get("pretraining", "none") == "none" else pretraining_seconds,
        "epochs_to_target": epochs,
        "seconds_to_target": _total_seconds(epochs, seconds_per_epoch, pretraining_seconds),
        "best_valid_error_pct": _median([run.valid_error_pct for run in runs]),
        "seconds_to_best": _total_seconds(to_best, seconds_per_epoch, pretraining_seconds),
        "epoch_ratio_ci_low": step_time.ratio and step_time.ratio.low,
        "epoch_ratio_ci_high": step_time.ratio and step_time.ratio.high,
        "verdict": step_time.verdict,
    }


def _total_seconds(
    epochs: float | None, seconds_per_epoch: float | None, pretraining_seconds: float | None
) -> float | None:
    if epochs is None or seconds_per_epoch is None or pretraining_seconds is None:
        return None
    return pretraining_seconds + epochs * seconds_per_epoch


def _facts_ratio(facts: Mapping[str, Any], base_facts: Mapping[str, Any], key: str) -> float | None:
    value, base_value = facts.get(key), base_facts.get(key)
    return None if value is None or not base_value else value / base_value


def _article_ratio(table: Article, key: tuple[str, str], base: tuple[str, str], metric: str) -> float | None:
    value, base_value = table.get((*key, metric)), table.get((*base, metric))
    return None if value is None or not base_value else value / base_value


def _median(values: Sequence[float | None]) -> float | None:
    """The median; None where any is missing, or there are none."""
    numbers = [value for value in values if value is not None]
    return float(median(numbers)) if numbers and len(numbers) == len(values) else None
