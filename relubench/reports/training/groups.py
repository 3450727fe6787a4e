"""The runs of a table in groups, one for each row, with what each run made of each test example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relubench.runs.result import RunResult, Timing
from relubench.runs.task import Task, task_of
from relubench.statistics.example_scores import Scores

MaskOf = Callable[[RunResult], Scores | None]
"""Gives what a run made of each test example, or None where that is not stored."""

ROW_NAMES = ("activation", "dataset", "model", "pretraining")
"""Keys of a specification that name a row, beside L1 strength, variant and test noise."""

DIGITS = 6
"""Decimals kept of a percentage: one test example in a million is 0.0001 %."""


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one row, by seed, and their masks: their scores of the test examples, bits or numbers."""

    runs: dict[int, RunResult]
    masks: dict[int, Scores]
    l1: float | None
    variant: str
    noise: float | None

    @property
    def spec(self) -> dict[str, Any]:
        return next(iter(self.runs.values())).spec

    @property
    def results(self) -> list[RunResult]:
        return list(self.runs.values())

    @property
    def complete(self) -> list[Scores]:
        """The masks, if every run with a test score has one and all are of the same test set; else none."""
        num_tested = sum(run.test_score is not None for run in self.runs.values())
        is_complete = num_tested == len(self.masks) and len({mask.shape for mask in self.masks.values()}) == 1
        return list(self.masks.values()) if is_complete else []

    @property
    def task(self) -> Task:
        return task_of(self.spec)

    @property
    def test_examples(self) -> int:
        return next(iter(self.runs.values())).test_examples

    @property
    def place(self) -> tuple[Any, ...]:
        """Rows of one place are compared with each other."""
        return self.spec["dataset"], self.spec["model"], self.variant, self.noise

    @property
    def variant_and_noise(self) -> str:
        noise = None if self.noise is None else f"test noise {self.noise:g}"
        return ", ".join(part for part in (self.variant, noise) if part)


@dataclass(frozen=True, slots=True)
class TableRuns:
    """What the keys of a table are computed from: the groups of its rows, and the clocks of its runs by id."""

    groups: Sequence[Group]
    timings: Mapping[str, Timing | None]
    by_strength: bool
    """Whether the table is about L1 strengths."""


def group_runs(results: Sequence[RunResult], mask_of: MaskOf, by_strength: bool) -> list[Group]:
    """The group of each row, in order of appearance; raises ValueError if two runs are the same seed of one row."""
    l1_varies = by_strength or len({l1_strength(result.spec) for result in results}) > 1
    groups: dict[tuple[Any, ...], Group] = {}
    for run in results:
        l1 = l1_strength(run.spec) if l1_varies else None
        variant, noise = run.spec.get("variant", ""), run.spec.get("test_noise")
        key = (*(run.spec.get(name, "none") for name in ROW_NAMES), l1, variant, noise)
        group = groups.setdefault(key, Group({}, {}, l1, variant, noise))
        seed = run.spec["seed"]
        if seed in group.runs:
            raise ValueError(f"runs {group.runs[seed].id} and {run.id} are both seed {seed} of {key}")
        group.runs[seed] = run
        if run.test_score is not None and (mask := mask_of(run)) is not None:
            group.masks[seed] = mask
    return list(groups.values())


def l1_strength(spec: Mapping[str, Any]) -> float:
    """The L1 strength that the user set, which the run's own may differ from by its scale."""
    return spec.get("l1_asked", spec.get("l1", 0.0))


def varied_keys(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The extra keys of each row: what varies beside the columns, and the variant where rows are alike without it."""
    names = {(*(group.spec.get(name) for name in ROW_NAMES), group.l1, group.noise) for group in groups}
    needs_variant = len(names) < len(groups)
    rows: list[dict[str, Any]] = []
    for group in groups:
        values = {"l1": group.l1, "test_noise": group.noise, "variant": group.variant if needs_variant else None}
        rows.append({key: value for key, value in values.items() if value is not None})
    return rows


def mask_pairs(group: Group, base: Group) -> tuple[list[Scores], list[Scores]]:
    """The masks of both groups on the seeds that they share, in the base's order; none of different test sets."""
    if group.spec.get("data_digest") != base.spec.get("data_digest"):
        return [], []
    seeds = [seed for seed in base.masks if seed in group.masks]
    seeds = [seed for seed in seeds if base.masks[seed].shape == group.masks[seed].shape == base.masks[seeds[0]].shape]
    return [group.masks[seed] for seed in seeds], [base.masks[seed] for seed in seeds]


def measured_means(groups: Sequence[Group]) -> list[dict[str, float | None]]:
    """What probes measured of the networks of each group at their best epochs, by name: the means over seeds."""
    at_best = [
        [value for run in group.results for value in run.measured if value.epoch == run.best_epoch or value.at_exchange]
        for group in groups
    ]
    names = dict.fromkeys(value.name for values in at_best for value in values)
    return [
        {name: mean([value.value for value in values if value.name == name]) for name in names} for values in at_best
    ]


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None, rounded; None where all are."""
    numbers = [value for value in values if value is not None]
    return rounded(sum(numbers) / len(numbers)) if numbers else None


def rounded(value: float | None) -> float | None:
    """The value with six decimals; None stays None."""
    return None if value is None else round(value, DIGITS)
