"""How fast networks train, activation by activation: time in each stage, an epoch, and until an error is reached.

What an image costs is measured here and now (`timing.steps`), in rounds in which every network takes its turn; how many
epochs an error takes comes from the learning curves, which no neighbour can slow down. Time is their product: epochs
times training images times the time of one, validation left out. Pre-training adds what its own clock said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from relubench.runs.result import RunResult, Timing
from relubench.statistics import timings
from relubench.timing.steps import STAGES, StepRace

ARTICLE_BASE = "sigmoid"
"""What the article's ratios are taken to; ratios to it have keys of their own."""

Clocks = Mapping[str, Timing | None]
"""What the clock said of each run, by its id."""

Article = Mapping[tuple[str, str, str], float]
"""(activation, pretraining, metric) -> value of the article's speed table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What a network's steps cost, over the rounds."""

    us_per_image: float | None = None
    stages: Mapping[str, float]
    ratio: timings.Estimate | None = None
    """To the base's time; None for the base itself."""
    verdict: str | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """One activation, its seeds' medians. Missing is None."""

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
    """All training images; validation left out."""
    pretraining_seconds: float | None = None
    """By the clock of the pre-training itself, which may have shared the machine."""
    target_error_pct: float | None = None
    """On the validation set."""
    epochs_to_target: float | None = None
    seconds_to_target: float | None = None
    """Pre-training included."""
    best_valid_error_pct: float | None = None
    seconds_to_best: float | None = None
    pareto: bool | None = None
    """Whether at some time of the training nobody had a lower error yet."""
    ratio_to: str = ""
    """The first activation that was asked for, to which the ratios are."""
    epoch_ratio: float | None = None
    epoch_ratio_ci_low: float | None = None
    epoch_ratio_ci_high: float | None = None
    verdict: str | None = None
    """Of an epoch's time: faster, slower or no difference, beyond the machine's own A/A band."""
    epochs_ratio: float | None = None
    seconds_ratio: float | None = None
    epoch_ratio_to_sigmoid: float | None = None
    epochs_ratio_to_sigmoid: float | None = None
    seconds_ratio_to_sigmoid: float | None = None
    """The same three once more where the ratios are to sigmoid."""
    article_epoch_ratio: float | None = None
    article_epochs_ratio: float | None = None
    article_hours_ratio: float | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The end of an epoch: the lowest validation error up to then, the median over the seeds."""

    activation: str
    epoch: int
    seconds: float
    valid_error_pct: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lowest_common_target(results: Sequence[RunResult]) -> float | None:
    """The lowest validation error that every run reaches, in percent; None without any."""
    best = [one.valid_error_pct for one in results if one.valid_error_pct is not None and one.outcome == "ok"]
    return max(best, default=None)


def epochs_to(result: RunResult, target: float) -> int | None:
    """The first epoch with that validation error or less; None where there is none."""
    found = (one.epoch for one in result.curve if one.valid_error_pct is not None and one.valid_error_pct <= target)
    return next(found, None)


def paces(race: StepRace) -> dict[str, Pace]:
    """What the steps of each network cost; a verdict only beyond what the base differs from itself.

    The time of a network is its ratio to the base, which is paired by round, times the base's median: so times, ratios
    and the Pareto front agree on an unsteady machine too. Its own median may have met another machine than the base's.
    """
    twin = race.twin
    band = timings.aa_band(twin) if twin is not None else (0.0, float("inf"))
    found: dict[str, Pace] = {}
    base = race.of(race.base).samples
    for one in race.networks:
        if one.role != "network":
            continue
        ratio = race.ratio(one.label) if one.label != race.base else None
        found[one.label] = Pace(
            us_per_image=_median(one.samples) if ratio is None else ratio.median * float(median(base)),
            stages={name: float(median(values)) for name, values in one.stages.items() if values},
            ratio=ratio,
            verdict=None if ratio is None else timings.verdict(ratio, band),
            failure=one.failure,
        )
    return found


def network_rows(
    results: Sequence[RunResult],
    known: Mapping[str, Pace],
    images: int,
    target: float | None,
    article: Article,
    clocks: Clocks,
) -> list[NetworkRow]:
    """A row for each activation and pre-training, with ratios to the first; `images` are those of an epoch."""
    groups = by_row(results)
    plain = {
        key: _facts(runs, known.get(key[0]), images, target, pretraining(key, runs, clocks))
        for key, runs in groups.items()
    }
    base = next(iter(groups))
    best = {one.activation for one in front(points(results, known, images, clocks))}
    rows = []
    for key, facts in plain.items():
        ratio = known[key[0]].ratio if key[0] in known else None
        compared: dict[str, Any] = {
            "epoch_ratio": ratio.median if ratio else _over(facts, plain[base], "seconds_per_epoch"),
            "epochs_ratio": _over(facts, plain[base], "epochs_to_target"),
            "seconds_ratio": _over(facts, plain[base], "seconds_to_target"),
        }
        if base == (ARTICLE_BASE, "none"):
            compared |= {f"{name}_to_sigmoid": value for name, value in compared.items()}
        compared |= {
            "article_epoch_ratio": _article(article, key, base, "epoch_time_cpu"),
            "article_epochs_ratio": _article(article, key, base, "convergence"),
            "article_hours_ratio": _article(article, key, base, "total_time"),
        }
        pareto = label(key) in best if facts["seconds_per_epoch"] is not None else None
        rows.append(NetworkRow(**{**facts, **compared}, ratio_to=label(base), target_error_pct=target, pareto=pareto))
    return rows


def by_row(results: Sequence[RunResult]) -> dict[tuple[str, str], list[RunResult]]:
    """The runs of each row: (activation, pretraining)."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for one in results:
        groups.setdefault((one.spec["activation"], one.spec.get("pretraining", "none")), []).append(one)
    return groups


def label(key: tuple[str, str]) -> str:
    """sigmoid, or sigmoid + rbm"""
    return key[0] if key[1] == "none" else f"{key[0]} + {key[1]}"


def pretraining(key: tuple[str, str], runs: Sequence[RunResult], clocks: Clocks) -> float | None:
    """Median seconds of pre-training over the seeds; 0 without any, None where a clock was lost."""
    if key[1] == "none":
        return 0.0
    found = [clocks.get(one.id) for one in runs]
    return _median([one.pretraining_seconds if one else None for one in found])


def points(results: Sequence[RunResult], known: Mapping[str, Pace], images: int, clocks: Clocks) -> list[Point]:
    """Every epoch of every row whose network was timed, as long as all of its seeds have one."""
    found: list[Point] = []
    for key, runs in by_row(results).items():
        pace, before = known.get(key[0]), pretraining(key, runs, clocks)
        if pace is None or pace.us_per_image is None or before is None:
            continue
        # A network that does not learn is fast at nothing.
        if any(one.outcome != "ok" for one in runs):
            continue
        lowest = [_lowest(one) for one in runs]
        for epoch in range(1, min(len(one) for one in lowest) + 1):
            error = median(one[epoch - 1] for one in lowest)
            seconds = before + epoch * images * pace.us_per_image / 1e6
            found.append(Point(activation=label(key), epoch=epoch, seconds=seconds, valid_error_pct=float(error)))
    return found


def front(known: Sequence[Point]) -> list[Point]:
    """The Pareto front: the points for which nobody has an error as low in less time, or a lower one in the same."""
    found: list[Point] = []
    for one in sorted(known, key=lambda point: (point.seconds, point.valid_error_pct)):
        if not found or one.valid_error_pct < found[-1].valid_error_pct:
            found.append(one)
    return found


def step_records(race: StepRace) -> list[dict[str, Any]]:
    """The raw samples of every network, the twin's too."""
    return [
        {
            "contestant": one.label,
            "role": one.role,
            "samples_us_per_image": one.samples,
            "position_in_round": one.positions,
            **{f"{name}_samples_us_per_image": one.stages[name] for name in STAGES},
        }
        for one in race.networks
        if one.samples
    ]


def _lowest(run: RunResult) -> list[float]:
    """The lowest validation error up to each epoch, as far as there is one."""
    found: list[float] = []
    for one in run.curve:
        if one.valid_error_pct is None:
            break
        found.append(min(one.valid_error_pct, found[-1]) if found else one.valid_error_pct)
    return found


def _facts(
    runs: Sequence[RunResult], pace: Pace | None, images: int, target: float | None, before: float | None
) -> dict[str, Any]:
    spec = runs[0].spec
    pace = pace or Pace(stages={})
    epoch = images * pace.us_per_image / 1e6 if pace.us_per_image is not None else None
    # A seed that never gets there makes the median unknown, not smaller.
    epochs = _median([epochs_to(one, target) for one in runs]) if target is not None else None
    to_best = _median([one.best_epoch for one in runs])
    bad = next((one for one in runs if one.outcome != "ok"), None)
    return {
        "activation": spec["activation"],
        "dataset": spec["dataset"],
        "model": spec["model"],
        "pretraining": spec.get("pretraining", "none"),
        "n": sum(one.outcome == "ok" for one in runs),
        "outcome": bad.outcome if bad is not None else "failed" if pace.failure else "ok",
        "message": bad.message if bad is not None else pace.failure,
        "images_per_second": 1e6 / pace.us_per_image if pace.us_per_image else None,
        **{f"{name}_us_per_image": pace.stages.get(name) for name in STAGES},
        "seconds_per_epoch": epoch,
        "pretraining_seconds": None if spec.get("pretraining", "none") == "none" else before,
        "epochs_to_target": epochs,
        "seconds_to_target": _in_all(epochs, epoch, before),
        "best_valid_error_pct": _median([one.valid_error_pct for one in runs]),
        "seconds_to_best": _in_all(to_best, epoch, before),
        "epoch_ratio_ci_low": pace.ratio and pace.ratio.low,
        "epoch_ratio_ci_high": pace.ratio and pace.ratio.high,
        "verdict": pace.verdict,
    }


def _in_all(epochs: float | None, epoch: float | None, before: float | None) -> float | None:
    return None if epochs is None or epoch is None or before is None else before + epochs * epoch


def _over(mine: Mapping[str, Any], base: Mapping[str, Any], key: str) -> float | None:
    a, b = mine.get(key), base.get(key)
    return None if a is None or not b else a / b


def _article(table: Article, key: tuple[str, str], base: tuple[str, str], metric: str) -> float | None:
    mine, theirs = table.get((*key, metric)), table.get((*base, metric))
    return None if mine is None or not theirs else mine / theirs


def _median(values: Sequence[float | None]) -> float | None:
    """The median; None where any is missing, or there are none."""
    known = [one for one in values if one is not None]
    return float(median(known)) if known and len(known) == len(values) else None
