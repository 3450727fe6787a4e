"""The rows of a training table: means over seeds, intervals, published numbers, and differences to the baseline row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relubench.experiments import references
from relubench.experiments.comparison import Comparison
from relubench.experiments.rows import SummaryRow, Tuning, score_values
from relubench.reports.training.footnotes import OUTCOMES
from relubench.reports.training.groups import Group, mask_pairs, mean
from relubench.runs.result import RunResult, Timing
from relubench.runs.task import CLASSIFICATION, Task
from relubench.statistics.error_rates import (
    IN_A_SMOKE_TEST,
    ON_THIS_TEST_SET,
    Difference,
    mean_score,
    paired_difference,
    seeds_to_resolve,
)
from relubench.statistics.example_scores import Scores
from relubench.statistics.power import SeedsNeeded


def table_rows(
    groups: Sequence[Group],
    timings: Mapping[str, Timing | None],
    tunings: Sequence[Tuning],
    comparison: Comparison,
    baselines: Sequence[int],
) -> list[SummaryRow]:
    """A row for each group, without a verdict; `baselines`: for each row the index of the one it is compared with."""
    tuning_by_row = {(tuning.variant, tuning.activation, tuning.pretraining): tuning for tuning in tunings}
    rows = [_row(group, timings, tuning_by_row, comparison.references) for group in groups]
    rows = _with_differences(groups, rows, baselines, comparison)
    return [_of_a_smoke_test(row) for row in rows] if comparison.smoke else rows


def _row(
    group: Group,
    timings: Mapping[str, Timing | None],
    tuning_by_row: Mapping[tuple[str, str, str], Tuning],
    tables: Mapping[str, str] | None,
) -> SummaryRow:
    runs, spec, task = group.results, group.spec, group.task
    tested_runs = [run for run in runs if run.test_score is not None]
    tuning = tuning_by_row.get((group.variant, spec["activation"], spec.get("pretraining", "none")))
    clocks = [timings.get(run.id) for run in runs]
    row = SummaryRow(
        activation=spec["activation"],
        dataset=spec["dataset"],
        model=spec["model"],
        pretraining=spec.get("pretraining", "none"),
        n=len(tested_runs),
        n_learned=sum(run.outcome != "stalled" for run in tested_runs),
        outcome=max((run.outcome for run in runs), key=OUTCOMES.index),
        lr=_common([run.spec.get("lr") for run in runs]),
        init=_common([run.spec.get("init") for run in runs]),
        parameters=_common([run.parameters for run in runs]),
        sparsity_pct=mean([run.sparsity_pct for run in tested_runs]),
        dead_units_pct=mean([run.dead_units_pct for run in tested_runs]),
        epochs=mean([run.epochs for run in runs]),
        seconds=None if None in clocks else round(sum(clock.seconds for clock in clocks if clock), 3),
        lr_budget=tuning and tuning.budget,
        lr_edge=tuning and tuning.edge,
        task=task.name,
        metric=task.metric,
        lower_is_better=task.lower_is_better,
        **_scores_of(group, tested_runs),
    )
    # Nothing is published of tests under noise.
    return row if group.noise else _with_references(row, spec, group.l1, tables)


def _scores_of(group: Group, tested_runs: Sequence[RunResult]) -> dict[str, Any]:
    """The fields of a row that hold its test score with its interval, and its validation score."""
    interval = mean_score(group.complete) if group.complete else None
    return _scores(
        group.task,
        test_metric=_mean_score([run.test_score for run in tested_runs]),
        test_metric_ci_low=interval and interval.low,
        test_metric_ci_high=interval and interval.high,
        valid_metric=_mean_score([run.valid_score for run in tested_runs]),
    )


def _with_references(
    row: SummaryRow, spec: Mapping[str, Any], l1: float | None, tables: Mapping[str, str] | None
) -> SummaryRow:
    if spec.get("train_size") is not None or row.task != CLASSIFICATION:
        # Nothing is published of trainings on a part of the images, and of classification alone.
        return row
    network = (row.dataset, row.model, row.activation, row.pretraining)
    table_of = {"glorot2011": None, "article": None} if tables is None else tables
    labels = spec.get("labels")
    paper = references.published(*network, table_of["glorot2011"], labels) if "glorot2011" in table_of else None
    # Of trainings on a part of the labels only figure 4 of the paper has numbers.
    in_article = "article" in table_of and labels is None
    # Where the penalty does not vary, the article's main table has the number, and its l1 = 0 row adds only a sparsity.
    penalty = 0.0 if l1 is None and not spec.get("l1") else l1
    # The article's strengths are taken as coefficients of a mean: under another scale they are other penalties.
    in_article = in_article and (not spec.get("l1") or spec.get("l1_scale", "sum") == "mean" or l1 is None)
    article = references.article(*network, l1=penalty, table=table_of["article"]) if in_article else None
    return replace(
        row,
        published_error_pct=paper and paper.error_pct,
        published_sparsity_pct=paper and paper.sparsity_pct,
        published_source=paper and paper.source,
        article_error_pct=article and article.error_pct,
        article_sparsity_pct=article and article.sparsity_pct,
    )


def _with_differences(
    groups: Sequence[Group], rows: Sequence[SummaryRow], baselines: Sequence[int], comparison: Comparison
) -> list[SummaryRow]:
    """The rows with their differences to their baselines; the intervals are for as many comparisons as there are."""
    pairs = [
        ([], []) if index == baseline else mask_pairs(groups[index], groups[baseline])
        for index, baseline in enumerate(baselines)
    ]
    comparisons = comparison.effective(sum(bool(masks) for masks, _ in pairs))
    return [
        _with_difference(row, paired_difference(*pair, comparisons), pair, comparisons) if pair[0] else row
        for row, pair in zip(rows, pairs, strict=True)
    ]


def _with_difference(
    row: SummaryRow, difference: Difference, pair: tuple[list[Scores], list[Scores]], comparisons: float
) -> SummaryRow:
    is_open = difference.verdict == "noise" and difference.seeds > 1 and difference.difference
    needed = seeds_to_resolve(*pair, comparisons) if is_open else SeedsNeeded(None, None, None)
    return replace(
        row,
        **_scores(
            row.posed,
            metric_difference=difference.difference,
            metric_difference_ci_low=difference.low,
            metric_difference_ci_high=difference.high,
            detectable_metric_difference=difference.detectable,
        ),
        difference_verdict=difference.verdict,
        difference_p=float(f"{difference.p:.4g}"),
        effect_size=None if difference.effect is None else round(difference.effect, 4),
        seeds_to_resolve=needed.likely,
        seeds_to_resolve_low=needed.low,
        seeds_to_resolve_high=needed.high,
    )


def _of_a_smoke_test(row: SummaryRow) -> SummaryRow:
    """The row whose word concludes nothing; its numbers stay."""
    word = (row.difference_verdict or "noise").removesuffix(ON_THIS_TEST_SET)
    return row if word == "noise" else replace(row, difference_verdict=word + IN_A_SMOKE_TEST)


def _scores(task: Task, **scores: float | None) -> dict[str, Any]:
    """The fields of a row that hold these scores, rounded."""
    return score_values(task, {key: None if score is None else task.rounded(score) for key, score in scores.items()})


def _mean_score(scores: Sequence[float | None]) -> float | None:
    """The mean of the scores that there are, None without any."""
    numbers = [score for score in scores if score is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _common(values: Sequence[Any]) -> Any:
    """The value that all have, or None."""
    return values[0] if values and all(value == values[0] for value in values) else None
