"""The rows of a study's table, and what the search for a learning rate found: plain records. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from relubench.runs.task import CLASSIFICATION, TASKS, Task, task_called

METRIC_KEYS = {
    "test_metric": "test_error_pct",
    "test_metric_ci_low": "test_error_ci_low_pct",
    "test_metric_ci_high": "test_error_ci_high_pct",
    "valid_metric": "valid_error_pct",
    "metric_difference": "difference_pct",
    "metric_difference_ci_low": "difference_ci_low_pct",
    "metric_difference_ci_high": "difference_ci_high_pct",
    "detectable_metric_difference": "detectable_difference_pct",
}
"""The keys that a row has for its task's metric -> those that the same values have where the task is classification."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One row of the table: an activation over its seeds. The field order is the column order of every format.

    Errors and differences are in percent of the test examples; intervals are 95 %, those of differences all of a table
    together; missing is None. The same stands under METRIC_KEYS, in the unit of the task's metric: of classification
    copies of the errors, of any other task these alone.
    """

    activation: str
    dataset: str
    model: str
    pretraining: str = "none"
    n: int = 0
    """Seeds with a test error."""
    test_error_pct: float | None = None
    test_error_ci_low_pct: float | None = None
    test_error_ci_high_pct: float | None = None
    valid_error_pct: float | None = None
    difference_pct: float | None = None
    """This row's error less the first row's, paired by seed and test example."""
    difference_ci_low_pct: float | None = None
    difference_ci_high_pct: float | None = None
    outcome: str = "ok"
    lr: float | None = None
    init: str | None = None
    parameters: int | None = None
    sparsity_pct: float | None = None
    dead_units_pct: float | None = None
    epochs: float | None = None
    seconds: float | None = None
    published_error_pct: float | None = None
    published_sparsity_pct: float | None = None
    published_source: str | None = None
    article_error_pct: float | None = None
    article_sparsity_pct: float | None = None
    verdict: str | None = None
    """Against the published error, else the article's: 'reproduced', 'better', 'worse', 'undecided', or 'not
    comparable'."""
    difference_verdict: str | None = None
    """Of the difference to the first row: 'noise' where its interval holds zero, else 'higher' or 'lower'; of one seed
    'higher on this test set' or 'lower on this test set'."""
    difference_p: float | None = None
    """Of no difference to the first row, two-sided, times the number of comparisons in the table (Bonferroni)."""
    effect_size: float | None = None
    """The difference over the standard deviation of the seeds' differences (Cohen's d_z); None with one seed."""
    detectable_difference_pct: float | None = None
    """The true difference that would have been called one with about 80 % probability; None if none would."""
    seeds_to_resolve: int | None = None
    """Seeds with which a true difference of the size seen is called one with 80 % probability; None if no number is."""
    verdict_against: str | None = None
    """'published' or 'article'."""
    verdict_reason: str | None = None
    """Why the row is not comparable, or what would settle an undecided one."""
    reference_difference_pct: float | None = None
    """This row's error less the reference's."""
    reference_ci_low_pct: float | None = None
    """95 %, the reference's own noise included."""
    reference_ci_high_pct: float | None = None
    margin_pct: float | None = None
    """Differences to the reference up to this count as none."""
    lr_budget: str | None = None
    """What `--lr auto` spent on this activation, e.g. '4 rates x 1 seed x 30 epochs'; None where the rate was given."""
    lr_edge: str | None = None
    """Whether the chosen rate is the 'lowest' or the 'highest' of the grid, or lies 'inside' it."""
    n_learned: int | None = None
    """Seeds with a test error that are not still at chance."""
    seeds_to_resolve_low: int | None = None
    """The same if trainings differ as little as the seeds leave open (80 %)."""
    seeds_to_resolve_high: int | None = None
    """The same if they differ as much; None if no number is enough."""
    task: str = CLASSIFICATION
    metric: str = TASKS[CLASSIFICATION].metric
    lower_is_better: bool = True
    test_metric: float | None = None
    test_metric_ci_low: float | None = None
    test_metric_ci_high: float | None = None
    valid_metric: float | None = None
    metric_difference: float | None = None
    """This row's score less the first row's, paired by seed and test example."""
    metric_difference_ci_low: float | None = None
    metric_difference_ci_high: float | None = None
    detectable_metric_difference: float | None = None

    def __post_init__(self) -> None:
        if self.task == CLASSIFICATION:
            for key, error_key in METRIC_KEYS.items():
                object.__setattr__(self, key, getattr(self, error_key))

    @property
    def posed(self) -> Task:
        """The task that its data set poses."""
        return task_called(self.task)

    @property
    def learned(self) -> bool:
        """Whether any of its networks has risen above chance."""
        return self.n_learned != 0

    def to_json(self) -> dict[str, Any]:
        """The row as programs have it."""
        return {name: getattr(self, name) for name in self.columns()}

    @classmethod
    def columns(cls) -> list[str]:
        """The keys of a row, whatever its task."""
        return [column.name for column in fields(cls)]


def score_values(task: Task, values: Mapping[str, float | None]) -> dict[str, Any]:
    """The fields of a row that hold these values of METRIC_KEYS, by the names that they have in rows of the task."""
    if task.name != CLASSIFICATION:
        return dict(values)
    return {METRIC_KEYS[key]: value for key, value in values.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What `--lr auto` found for one activation, on seeds that are not reported."""

    activation: str
    errors: dict[float, float | None]
    """Learning rate -> mean validation score over the tuning seeds, in percent; None where a seed has none."""
    seeds: int
    epochs: int
    """Asked for, of each trial."""
    lr: float
    """The rate with the best score; the larger one of two equal ones."""
    pretraining: str = "none"
    variant: str = ""
    """The label of the study's variant that it belongs to."""
    task: str = CLASSIFICATION

    @property
    def budget(self) -> str:
        """'4 rates x 1 seed x 30 epochs'"""
        sizes = ((len(self.errors), "rate"), (self.seeds, "seed"), (self.epochs, "epoch"))
        return " x ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in sizes)

    @property
    def edge(self) -> Literal["lowest", "highest", "inside"]:
        """Where in the grid the chosen rate lies: at an edge a better one may lie outside."""
        return "lowest" if self.lr == min(self.errors) else "highest" if self.lr == max(self.errors) else "inside"
