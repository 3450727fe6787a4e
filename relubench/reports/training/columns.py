"""The keys of a training table's rows, a row of COLUMNS each: what a key means, and its column for people. Torch-free.

A new column is one row here, with the function that computes its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relubench.reports.formatting import fixed
from relubench.reports.training.display_columns import (
    ColumnMaker,
    dead_units_column,
    difference_column,
    error_column,
    formatted_column,
    gradient_column,
    if_varied,
    number_column,
    outcome_column,
    reference_column,
    text_column,
    time_column,
    unless_in_variant,
    unless_variants,
)
from relubench.reports.training.groups import TableRuns, mean
from relubench.reports.training.pretraining_notes import pretraining_seconds


@dataclass(frozen=True, slots=True)
class TableKey:
    """A key of a training table's rows."""

    name: str
    meaning: str = ""
    """What `relubench list columns` says of it; empty for a key that is not listed there."""
    unit: str = ""
    values: Callable[[TableRuns], list[Any] | None] | None = None
    """Gives the value of each row, or None where a table goes without the key; None for keys that SummaryRow has."""
    place: int = 0
    """Where its column stands among those for people: the lowest is the leftmost."""
    column: ColumnMaker | None = None
    """Makes its column for people; None for a key that only programs read."""


def _near_zeros(runs: TableRuns) -> list[float | None] | None:
    if not runs.by_strength:
        return None
    return [mean([run.near_zeros_pct for run in group.results if run.test_score is not None]) for group in runs.groups]


def _pretraining_seconds(runs: TableRuns) -> list[float | None] | None:
    if not any(group.spec.get("stack") for group in runs.groups):
        return None
    return [pretraining_seconds(group.results, runs.timings) for group in runs.groups]


def _r2(runs: TableRuns) -> list[float | None] | None:
    """Of each row the mean over seeds; None where no run has measured it."""
    values = [
        mean([value.value for run in group.results for value in run.measured if value.name == "r2"])
        for group in runs.groups
    ]
    return None if all(value is None for value in values) else values


PERCENT, POINTS = "% of the test examples", "points (of % of the test examples)"
METRIC = "that of the metric"
TOGETHER = "the 95 % intervals of all differences of a table hold together (Bonferroni)"

COLUMNS: list[TableKey] = [
    TableKey(
        "activation", "the activation, with the parameters that were given", place=10, column=text_column("activation")
    ),
    TableKey("dataset", "a name of `relubench list datasets`", place=30, column=if_varied(text_column("dataset"))),
    TableKey(
        "model",
        "a name of `relubench list models`",
        place=40,
        column=unless_in_variant(if_varied(text_column("model"))),
    ),
    TableKey("pretraining", "none, rbm, dae, or a file", place=50, column=if_varied(text_column("pretraining"))),
    TableKey(
        "n",
        "seeds with a test error",
        unit="seeds",
        place=120,
        column=if_varied(formatted_column("n", "n", lambda row: str(row["n"]), drop_order=1)),
    ),
    TableKey(
        "test_error_pct",
        "the mean over seeds, at the weights of each one's best epoch",
        unit=PERCENT,
        place=140,
        column=error_column,
    ),
    TableKey(
        "test_error_ci_low_pct", "lower end of the 95 % interval; of one seed the test set's noise alone", unit=PERCENT
    ),
    TableKey("test_error_ci_high_pct", "its upper end", unit=PERCENT),
    TableKey("valid_error_pct", "the mean over seeds of the best epoch's error", unit="% of the validation images"),
    TableKey(
        "difference_pct",
        "this row's error less that of the row it is compared with, paired by seed and example",
        unit=POINTS,
        place=150,
        column=difference_column,
    ),
    TableKey("difference_ci_low_pct", f"lower end of its interval; {TOGETHER}", unit=POINTS),
    TableKey("difference_ci_high_pct", "its upper end", unit=POINTS),
    TableKey(
        "outcome",
        "the worst of the seeds: ok, stalled (at chance), diverged (a loss that is not finite) or failed",
        place=130,
        column=outcome_column,
    ),
    TableKey(
        "lr",
        "the learning rate; empty where it differs between seeds",
        place=60,
        column=if_varied(number_column("lr", drop_order=7)),
    ),
    TableKey(
        "init",
        "how the weights were drawn",
        place=70,
        column=unless_variants(if_varied(text_column("init", drop_order=6))),
    ),
    TableKey(
        "parameters",
        "how many numbers are trained",
        place=80,
        column=if_varied(number_column("parameters", drop_order=3)),
    ),
    TableKey(
        "sparsity_pct",
        "exact zeros on the test images, the mean over layers and seeds",
        unit="% of the hidden outputs",
        place=190,
        column=formatted_column("sparsity_pct", "zeros %", lambda row: fixed(row["sparsity_pct"], 1), drop_order=5),
    ),
    TableKey(
        "dead_units_pct",
        "units without slope at any training image after the last epoch; empty for networks of torchvision or your own",
        unit="% of the hidden units",
        place=200,
        column=dead_units_column,
    ),
    TableKey(
        "epochs",
        "epochs trained, the mean over seeds",
        place=90,
        column=if_varied(number_column("epochs", drop_order=2)),
    ),
    TableKey("seconds", "training, validation and test of all seeds together", unit="s", place=210, column=time_column),
    TableKey(
        "published_error_pct",
        "the paper's number for this network",
        unit=PERCENT,
        place=220,
        column=reference_column("published", drop_order=10),
    ),
    TableKey("published_sparsity_pct", "the paper's zeros", unit="% of the hidden outputs"),
    TableKey("published_source", "where in the paper it stands"),
    TableKey(
        "article_error_pct",
        "the article's number for this network",
        unit=PERCENT,
        place=230,
        column=reference_column("article", drop_order=9),
    ),
    TableKey("article_sparsity_pct", "the article's zeros", unit="% of the hidden outputs"),
    TableKey(
        "verdict", "on the published error, else the article's: reproduced, better, worse, undecided, not comparable"
    ),
    TableKey(
        "difference_verdict",
        "noise where the interval of the difference holds zero, else lower or higher; of one seed lower (higher) on "
        "this test set, since another training may turn it; of a preset at scale smoke lower (higher) in a smoke test, "
        "from which nothing is concluded",
    ),
    TableKey(
        "difference_p",
        "of a difference as large where there is none, two-sided, times the number of comparisons; below 0.05 exactly "
        "where the interval leaves zero out",
        unit="probability",
    ),
    TableKey(
        "effect_size",
        "the difference over the standard deviation of the seeds' own differences (Cohen's d_z): 1 is as large as what "
        "one seed's difference varies; it says how clear a difference is to a seed, not how large; empty with one seed",
        unit="standard deviations",
    ),
    TableKey(
        "detectable_difference_pct",
        "the smallest true difference that this row's comparison would have called lower or higher with about "
        "80 % probability: what is smaller may be missed; empty where none that is possible would have been",
        unit=POINTS,
    ),
    TableKey(
        "seeds_to_resolve",
        "in all, with which a true difference as large as the one called noise is called one with 80 % probability; "
        "empty where no number up to 1,000 is enough",
        unit="seeds",
    ),
    TableKey("verdict_against", "published or article"),
    TableKey("verdict_reason", "why a row is not comparable, or what would settle an undecided one"),
    TableKey("reference_difference_pct", "this row's error less the reference's", unit=POINTS),
    TableKey("reference_ci_low_pct", "lower end of its 95 % interval, the reference's own noise included", unit=POINTS),
    TableKey("reference_ci_high_pct", "its upper end", unit=POINTS),
    TableKey("margin_pct", "differences to the reference up to this count as none", unit=POINTS),
    TableKey("lr_budget", "what --lr auto spent on this activation"),
    TableKey("lr_edge", "whether the chosen rate is the lowest or the highest of the grid, or lies inside it"),
    TableKey("n_learned", "seeds with a test error that are not still at chance", unit="seeds"),
    TableKey(
        "seeds_to_resolve_low",
        "seeds_to_resolve if trainings differ as little as the seeds leave open (80 %)",
        unit="seeds",
    ),
    TableKey("seeds_to_resolve_high", "the same if they differ as much; empty where no number is enough", unit="seeds"),
    TableKey("task", "what the networks are asked to do: classification, unless the data set says otherwise"),
    TableKey("metric", "how the task is scored; of classification error_pct, and the keys below repeat the errors"),
    TableKey("lower_is_better", "whether a lower score is better than a higher one; empty where that is not known"),
    TableKey("test_metric", "as test_error_pct, in the metric's unit: rows of every task have it", unit=METRIC),
    TableKey("test_metric_ci_low", "lower end of its 95 % interval", unit=METRIC),
    TableKey("test_metric_ci_high", "its upper end", unit=METRIC),
    TableKey("valid_metric", "as valid_error_pct", unit=METRIC),
    TableKey("metric_difference", "as difference_pct", unit=METRIC),
    TableKey("metric_difference_ci_low", f"lower end of its interval; {TOGETHER}", unit=METRIC),
    TableKey("metric_difference_ci_high", "its upper end", unit=METRIC),
    TableKey("detectable_metric_difference", "as detectable_difference_pct", unit=METRIC),
    TableKey(
        "l1",
        "the strength of the penalty, where it varies",
        place=100,
        column=unless_variants(formatted_column("l1", "l1", lambda row: f"{row['l1']:g}")),
    ),
    TableKey(
        "test_noise",
        "the strength of the noise on the test images, where it varies",
        place=110,
        column=formatted_column("test_noise", "noise", lambda row: f"{row['test_noise']:g}"),
    ),
    TableKey(
        "variant",
        "the preset's or study's variant, where that is all that tells rows apart",
        place=20,
        column=text_column("variant"),
    ),
    TableKey(
        "near_zeros_pct",
        "up to 1 % of their layer's root mean square, on the probe images",
        unit="% of the hidden outputs",
        values=_near_zeros,
    ),
    TableKey(
        "pretraining_seconds", "the part of seconds that pre-training took", unit="s", values=_pretraining_seconds
    ),
    TableKey(
        "r2",
        "of regression: 1 less the squared error over the variance of the test targets, the mean over seeds",
        values=_r2,
        place=145,
        column=formatted_column("r2", "R2", lambda row: fixed(row["r2"], 3), drop_order=5),
    ),
    TableKey(
        "gradient_ratio",
        "how much of the gradient is left at the first hidden layer, before training: its norm in the layer's outputs "
        "over that in the last hidden layer's",
        place=160,
        column=gradient_column("gradient_ratio", "gradient 1st/last"),
    ),
    TableKey(
        "gradient_ratio_trained",
        "the same after the last epoch",
        place=170,
        column=gradient_column("gradient_ratio_trained", "trained", drop_order=6),
    ),
    TableKey(
        "article_gradient_bound",
        "what the article bounds it by for sigmoid: 0.25 for each layer that the gradient passes",
        place=180,
        column=gradient_column("article_gradient_bound", "article's bound", drop_order=7),
    ),
]
"""In the order of the rows; from l1 on only where a table has them."""
