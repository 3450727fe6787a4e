"""The lines under a training table that say how it came about: outcomes, intervals, learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.experiments.rows import SummaryRow, Tuning
from relubench.reports.formatting import count, fixed, join_names
from relubench.reports.training.groups import Group
from relubench.runs.result import RunResult
from relubench.runs.task import task_called
from relubench.statistics.error_rates import ON_THIS_TEST_SET
from relubench.statistics.skewness import is_skew

OUTCOMES = ("ok", "stalled", "diverged", "failed")
"""From best to worst: a row shows the worst of its seeds."""


MOST_LABELS = 12
"""Labels of rows that one line names."""


def outcome_notes(
    groups: Sequence[Sequence[RunResult]], rows: Sequence[SummaryRow], labels: Sequence[str]
) -> list[str]:
    """Runs that are not ok, with their number and reason, said once for all rows alike; rows without an interval."""
    labels_by_words: dict[str, list[str]] = {}
    without_masks = []
    for runs, row, label in zip(groups, rows, labels, strict=True):
        for words in _outcome_words(runs, row):
            labels_by_words.setdefault(words, []).append(label)
        if row.n and row.test_metric_ci_low is None:
            without_masks.append(f"{label}: no interval, since which test examples it got wrong is not stored")
    notes = [f"{join_names(names, MOST_LABELS)}: {words}" for words, names in labels_by_words.items()]
    return [*notes, *without_masks]


def _outcome_words(runs: Sequence[RunResult], row: SummaryRow) -> list[str]:
    """'1 of 3 seeds stalled (the reason)' for each outcome that is not ok."""
    lines = []
    for outcome in OUTCOMES[1:]:
        affected_runs = [run for run in runs if run.outcome == outcome]
        if not affected_runs:
            continue
        message = next((" ".join(run.message.split()) for run in affected_runs if run.message), "")
        mean_note = (
            f"; its mean is over the {count(row.n, 'seed')} with a test {row.posed.noun}"
            if 0 < row.n < len(runs)
            else ""
        )
        reason = f" ({message})" if message else ""
        lines.append(f"{len(affected_runs)} of {count(len(runs), 'seed')} {outcome}{reason}{mean_note}")
    return lines


def method_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the scores, intervals and differences mean."""
    spans = {row.n > 1 for row in rows if row.test_metric_ci_low is not None}
    if not spans:
        return []
    words = {True: "over seeds and test examples", False: "over test examples only (one seed)"}
    note = "95 % intervals " + " or ".join(words[span] for span in sorted(spans, reverse=True))
    rows_with_difference = [row for row in rows if row.metric_difference is not None]
    if not rows_with_difference:
        return [note, *_task_notes(rows)]
    verdicts = [row.difference_verdict or "" for row in rows_with_difference]
    return [
        f"{note}; differences are paired by seed and example{together(len(rows_with_difference))}",
        *one_seed_note(verdicts),
        *_task_notes(rows),
    ]


def power_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """The smallest difference that rows of each task could have seen; scores of two tasks are no range."""
    by_task: dict[str, list[SummaryRow]] = {}
    for row in rows:
        if row.metric_difference is not None:
            by_task.setdefault(row.task, []).append(row)
    notes = []
    for task_rows in by_task.values():
        task = task_rows[0].posed
        note = smallest_seen(
            [row.detectable_metric_difference for row in task_rows],
            decimals=task.decimals,
            unit=task.difference_unit,
            seeds=min((row.n for row in task_rows if row.n > 1), default=1),
        )
        notes.append(f"{task.noun}: {note}" if len(by_task) > 1 else note)
    return notes


def _task_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the score of each task of the table is, where its name does not say all."""
    meanings = dict.fromkeys(row.posed.meaning for row in rows if row.n)
    return [meaning for meaning in meanings if meaning]


def together(comparisons: int) -> str:
    """What the intervals of differences hold, and when one is called noise."""
    if comparisons <= 1:
        return ", noise where the interval holds zero"
    how_many = "both" if comparisons == 2 else f"all {comparisons}"
    return (
        f", noise where the interval holds zero; with 95 % probability {how_many} of their intervals hold (Bonferroni)"
    )


def one_seed_note(verdicts: Sequence[str]) -> list[str]:
    """What a word of one seed does not say."""
    if not any(verdict.endswith(ON_THIS_TEST_SET) for verdict in verdicts):
        return []
    word = next(verdict for verdict in verdicts if verdict.endswith(ON_THIS_TEST_SET))
    return [f"“{word}” compares one training of each: further trainings may differ the other way"]


def smallest_seen(sizes: Sequence[float | None], *, decimals: int = 2, unit: str = "points", seeds: int = 1) -> str:
    """The smallest difference that could have been seen, as far as there is one; `sizes`: of each comparison.

    `seeds`: the fewest that a row has, of those with several. The size then rests on how much those few trainings
    differ. Two tell so little of it that 60 % is all that holds, and only for a row that is worse: of better ones a
    third was seen where trainings differ most. From three on it is 80 % on the average over what trainings may do:
    where they differ most, 69 to 88 % for a row that is worse (benchmarks.statistics_simulation).
    """
    visible = [size for size in sizes if size is not None]
    if not visible:
        return (
            "with so few seeds or examples even the largest possible difference would be missed more often than once "
            "in five times"
        )
    low, high = fixed(min(visible), decimals), fixed(max(visible), decimals)
    range_text = f"{low if low == high else f'{low} to {high}'} {unit}".rstrip()
    num_invisible = len(sizes) - len(visible)
    limits = (
        f"; in {num_invisible} of {len(sizes)} comparisons even the largest possible one would be missed more often"
        if num_invisible
        else ""
    )
    limits = f", if further trainings vary as these did{limits}" if seeds > 1 else limits
    of_two = "60 % probability or more for a row that is worse, and less for one that is better (two seeds)"
    chance = of_two if seeds == 2 else "about 80 % probability"
    return f"the smallest difference this table could have seen, with {chance}: {range_text}{limits}"


def match_notes(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the gated networks have in common with the plain ones; `specs` one a row."""
    words = {
        "parameters": "narrowed to the parameters of the plain network, within 1 %",
        "width": "as wide as the plain network, so with more parameters",
    }
    notes = []
    for match, meaning in words.items():
        names = dict.fromkeys(spec["activation"] for spec in specs if spec.get("match") == match)
        notes += [f"{join_names(list(names))}: {meaning}"] if names else []
    return notes


def uncounted_notes(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why networks that somebody else wrote have no share of dead units; `specs` one a row."""
    names = dict.fromkeys(spec["model"] for spec in specs if spec.get("foreign"))
    if not names:
        return []
    return [
        f"dead units are not counted in {join_names(list(names))}: relubench looks at single units only in networks of "
        "its own (an mlp or the cnn)"
    ]


def skew_notes(groups: Sequence[Group]) -> list[str]:
    """What intervals cover where a few test examples carry much of a score."""
    if not any(group.complete and is_skew(group.complete) for group in groups):
        return []
    return [
        "a few test examples carry much of the score: in simulation 95 % intervals of such means cover 85 to 97 %, "
        "those of differences 93 % or more"
    ]


def tuning_notes(tunings: Sequence[Tuning]) -> list[str]:
    """The budget of `--lr auto`, and whose rate lies at an edge of the grid."""
    if not tunings:
        return []
    budgets = dict.fromkeys(tuning.budget for tuning in tunings)
    grid = ", ".join(f"{rate:g}" for rate in tunings[0].errors)
    target = "each activation" if len(tunings) > 1 else tunings[0].activation
    noun = task_called(tunings[0].task).noun
    notes = [f"lr: chosen for {target} by validation {noun} among {grid} ({'; '.join(budgets)}), on seeds not reported"]
    for edge in ("lowest", "highest"):
        names = [tuning.activation for tuning in tunings if tuning.edge == edge]
        if names:
            notes.append(
                f"{join_names(names)}: the {edge} rate of the grid was best, so a better one may lie beyond it "
                "(--set train.lr_grid=[...])"
            )
    return notes
