"""The answer of a contest as records: what is known of each activation, and which one is recommended. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from relubench.experiments.choosing.contest import Contest, Ended
from relubench.experiments.choosing.prices import Price
from relubench.experiments.choosing.projection import Projection, project
from relubench.statistics.error_rates import mean_score

Want = Literal["error", "time", "memory"]
WANTS = ("error", "time", "memory")

Standing = Literal["best", "not told apart", "worse", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRow:
    """What is known of one activation in one data set and network; missing is None. Scores are in the task's unit."""

    activation: str
    dataset: str
    model: str
    standing: Standing
    recommended: bool = False
    task: str
    metric: str
    lower_is_better: bool
    lr: float | None = None
    parameters: int | None = None
    seeds: int = 0
    """With a validation score at the looks."""
    valid_metric: float | None = None
    """The mean over them."""
    valid_difference: float | None = None
    """Less that of the best, at the last look at which both were compared."""
    valid_difference_ci_low: float | None = None
    """The intervals of all pairs and looks hold together at the plan's error rate."""
    valid_difference_ci_high: float | None = None
    test_seeds: int = 0
    """Fresh ones, which decided nothing before."""
    test_metric: float | None = None
    test_metric_ci_low: float | None = None
    test_metric_ci_high: float | None = None
    test_difference: float | None = None
    """Less that of the best, paired by seed and test example."""
    test_difference_ci_low: float | None = None
    test_difference_ci_high: float | None = None
    out_after_seeds: int | None = None
    reason: str = ""
    """Why it is out."""
    training_us_per_example: float | None = None
    training_ratio: float | None = None
    """Over the first activation's, of the same rounds."""
    training_ratio_ci_low: float | None = None
    training_ratio_ci_high: float | None = None
    inference_us: float | None = None
    """One example alone."""
    inference_us_per_example: float | None = None
    """In a batch as large as in training."""
    memory_bytes: int | None = None
    """The most that the network and a training step of it take."""
    not_timed: str = ""
    """Why it has no times."""
    pareto: bool | None = None
    """Whether no other activation is as good in validation score, training time and memory, and better in any."""
    soundness: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """What a first answer takes, as it was known at the end."""

    runs_needed: int = 0
    seconds_a_run: float | None = None
    """Of one training on this machine; None where none was trained now."""
    seconds_needed: float | None = None
    """The time that a first answer needs; None where it has one, or where runs count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The rows of one contest, with what its sentence says."""

    rows: list[ChoiceRow]
    best: str | None
    """The activation with the best score among those that are left, on the test set where it is confirmed."""
    ended: Ended
    runs: int
    compared: bool
    """Whether there was a look: before it nothing can be told."""
    confirmed: bool
    projections: list[Projection]
    effort: Effort

    @property
    def recommended(self) -> ChoiceRow | None:
        return next((row for row in self.rows if row.recommended), None)

    @property
    def chosen(self) -> list[ChoiceRow]:
        """The activations that cannot be told apart from the best, itself first."""
        rows = [row for row in self.rows if row.standing in ("best", "not told apart")]
        return sorted(rows, key=lambda row: row.standing != "best")


def answer_of(
    contest: Contest, want: Want, prices: Mapping[str, Price], soundness: Mapping[str, str], effort: Effort
) -> Answer:
    """The answer of a contest, wherever it has stopped."""
    best = _best(contest)
    rows = [_row(contest, label, best, prices.get(label), soundness.get(label)) for label in contest.labels]
    rows = _with_front(rows)
    name = recommended(rows, want, contest.plan.within)
    return Answer(
        rows=[replace(row, recommended=row.activation == name) for row in rows],
        best=best,
        ended=contest.ended,
        runs=contest.outcomes.num_runs,
        compared=contest.seeds > 0 or contest.ended == "settled",
        confirmed=bool(contest.confirmed),
        projections=project(contest),
        effort=effort,
    )


def recommended(rows: Sequence[ChoiceRow], want: Want, within: float) -> str | None:
    """The activation to take: the best, or the cheapest of those that are as good, or not worse by more than `within`.

    `want`: error takes the best unless a difference `within` is allowed; time and memory take the cheapest. None where
    nothing has a score.
    """
    best = next((row for row in rows if row.standing == "best"), None)
    if best is None:
        return None
    if want == "error" and not within:
        return best.activation
    candidates = [row for row in rows if row is best or (row.standing == "not told apart" and _is_within(row, within))]
    cost = {row.activation: row.memory_bytes if want == "memory" else row.training_us_per_example for row in candidates}
    priced = {name: value for name, value in cost.items() if value is not None}
    return min(priced, key=lambda name: priced[name]) if priced else best.activation


def _is_within(row: ChoiceRow, within: float) -> bool:
    """Whether it is shown not to be worse than the best by more than that; any that is left, where nothing is asked."""
    if not within:
        return True
    low, high = row.test_difference_ci_low, row.test_difference_ci_high
    if low is None or high is None:
        low, high = row.valid_difference_ci_low, row.valid_difference_ci_high
    worst = high if row.lower_is_better else None if low is None else -low
    return worst is not None and worst <= within


def _best(contest: Contest) -> str | None:
    """The best of those that are left, by test score where that is confirmed, else by validation score."""
    if not contest.remaining or not contest.rates:
        return None
    sign = 1.0 if contest.outcomes.task.lower_is_better else -1.0
    score_of = _test_score if contest.confirmed else _valid_score
    scores = {label: score_of(contest, label) for label in contest.remaining if label in contest.rates}
    numbers = {label: sign * score for label, score in scores.items() if score is not None}
    # Before the first look nobody is out: one without a score may be the best.
    is_known = bool(numbers) if contest.seeds else len(numbers) == len(contest.remaining)
    return min(numbers, key=lambda label: numbers[label]) if is_known else None


def _valid_score(contest: Contest, label: str) -> float | None:
    scores = contest.outcomes.valid_scores(label, contest.rates[label], contest.scored_seeds(label))
    return sum(scores) / len(scores) if scores else None


def _test_score(contest: Contest, label: str) -> float | None:
    if not contest.confirmed or label not in contest.rates:
        return None
    scores = contest.outcomes.test_scores(label, contest.rates[label], contest.confirmed)
    return sum(scores) / len(scores) if len(scores) == len(contest.confirmed) else None


def _row(contest: Contest, label: str, best: str | None, price: Price | None, sound: str | None) -> ChoiceRow:
    task, out = contest.outcomes.task, contest.out.get(label)
    standing: Standing = "best" if label == best else "not told apart"
    if out is not None:
        standing = "failed" if out.reason == "failed" else "worse"
    spec = next((run.spec for (name, _, _), run in contest.outcomes.results.items() if name == label), {})
    price = price or Price()
    row = ChoiceRow(
        activation=label,
        dataset=contest.outcomes.dataset,
        model=spec.get("model", contest.outcomes.model),
        standing=standing,
        task=task.name,
        metric=task.metric,
        lower_is_better=task.lower_is_better,
        lr=contest.rates.get(label),
        parameters=spec.get("parameters"),
        seeds=len(contest.scored_seeds(label)),
        out_after_seeds=out and out.seeds,
        reason="" if out is None else out.message or f"{out.reason.removesuffix(' on the test set')} than {out.by}",
        **asdict(price),
        soundness=sound,
    )
    return replace(row, **_validation(contest, label, best), **_test(contest, label, best))


def _validation(contest: Contest, label: str, best: str | None) -> dict[str, Any]:
    score = _valid_score(contest, label) if label in contest.rates else None
    rounded = contest.outcomes.task.rounded
    values: dict[str, Any] = {"valid_metric": None if score is None else rounded(score)}
    if best is not None and (pair := contest.pairs.get((label, best))) is not None:
        values["valid_difference"] = rounded(pair.difference)
        values |= {"valid_difference_ci_low": rounded(pair.low), "valid_difference_ci_high": rounded(pair.high)}
    return values


def _test(contest: Contest, label: str, best: str | None) -> dict[str, Any]:
    score, rounded = _test_score(contest, label), contest.outcomes.task.rounded
    if score is None:
        return {}
    interval = mean_score(contest.outcomes.masks_of(label, contest.rates[label], contest.confirmed))
    values: dict[str, Any] = {
        "test_seeds": len(contest.confirmed),
        "test_metric": rounded(score),
        "test_metric_ci_low": rounded(interval.low),
        "test_metric_ci_high": rounded(interval.high),
    }
    if best is not None and (difference := contest.differences.get((label, best))) is not None:
        values |= {
            "test_difference": rounded(difference.difference),
            "test_difference_ci_low": rounded(difference.low),
            "test_difference_ci_high": rounded(difference.high),
        }
    return values


def _with_front(rows: Sequence[ChoiceRow]) -> list[ChoiceRow]:
    """The rows that say whether they are on the Pareto front; None where a score or a price is missing."""
    points = {row.activation: _point(row) for row in rows}
    numbers = {name: point for name, point in points.items() if point is not None}

    def is_on_front(point: tuple[float, ...]) -> bool:
        return not any(_dominates(rival, point) for rival in numbers.values())

    return [
        replace(row, pareto=None if (point := points[row.activation]) is None else is_on_front(point)) for row in rows
    ]


def _point(row: ChoiceRow) -> tuple[float, ...] | None:
    if row.valid_metric is None or row.training_us_per_example is None:
        return None
    sign = 1.0 if row.lower_is_better else -1.0
    return sign * row.valid_metric, row.training_us_per_example, float(row.memory_bytes or 0)


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))
