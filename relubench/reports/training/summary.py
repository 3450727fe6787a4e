"""From stored runs to a table: its rows, the lines below them, and the sentence that says what they show.

Rows with the same data set and model share their test examples and are compared with the first of them, unless a
`Comparison` says otherwise. Pairs are made on the seeds that both rows have; the intervals of all differences of the
table hold together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relubench.experiments import comparison as baselines
from relubench.experiments import references
from relubench.experiments.comparison import Comparison
from relubench.experiments.rows import SummaryRow, Tuning
from relubench.reports.report import Note, asides, footnotes
from relubench.reports.training import gradients, verdicts
from relubench.reports.training.columns import COLUMNS
from relubench.reports.training.footnotes import (
    match_notes,
    method_notes,
    outcome_notes,
    power_notes,
    skew_notes,
    tuning_notes,
    uncounted_notes,
)
from relubench.reports.training.gains import gains
from relubench.reports.training.groups import Group, MaskOf, TableRuns, group_runs, measured_means, varied_keys
from relubench.reports.training.labels import entries_by_baseline, row_labels
from relubench.reports.training.pretraining_notes import pretraining_notes
from relubench.reports.training.rows import table_rows
from relubench.reports.training.sentence import SMOKE, deciding_notes, summary_sentence
from relubench.reports.training.verdicts import RowVerdict
from relubench.runs.result import RunResult, Timing


@dataclass(frozen=True, slots=True)
class Summary:
    """A table of results: its rows, the lines below it, and what all of its runs share."""

    rows: list[SummaryRow]
    notes: list[Note]
    sentence: str
    varied: list[dict[str, Any]]
    """For each row the keys beside SummaryRow's that the table has: l1, test_noise, variant and others."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What every run's specification has in common."""
    seeds: int = 0
    """The most seeds that any row has, finished or not."""
    against: str = ""
    """The activation or variant that rows are compared with, if it was named."""

    @property
    def note_texts(self) -> list[str]:
        """The lines below the table."""
        return [note.text for note in self.notes]

    def json_rows(self) -> list[dict[str, Any]]:
        """The rows with every column of the contract, in its order, and the varied keys after them."""
        return [{**row.to_json(), **extra} for row, extra in zip(self.rows, self.varied, strict=True)]


def summarize(
    results: Sequence[RunResult],
    timings: Mapping[str, Timing | None],
    mask_of: MaskOf,
    tunings: Sequence[Tuning] = (),
    comparison: Comparison | None = None,
    *,
    by_strength: bool = False,
) -> Summary:
    """The table of these runs: a row for each activation (data set, model, pre-training, l1), in order of appearance.

    Each variant and strength of test noise has a row; without a `comparison` a row is compared with the first one of
    its data set, model, variant and noise. `timings`: by run id; `mask_of`: gives a run's mask over the test examples,
    or None where there is none; `tunings`: what `--lr auto` searched and chose; `by_strength`: a row is one L1 strength
    even where there is only one. Raises ValueError if two runs would be the same seed of the same row.
    """
    comparison = comparison or Comparison()
    groups = group_runs(results, mask_of, by_strength)
    base_indices = baselines.baseline_indices(groups, comparison)
    rows = table_rows(groups, timings, tunings, comparison, base_indices)
    labels = row_labels(groups, rows)
    row_verdicts = _verdicts(groups, rows, labels, smoke=comparison.smoke)
    rows = [row_verdict.row for row_verdict in row_verdicts]
    deciding = [] if comparison.smoke else deciding_notes(entries_by_baseline(groups, rows, base_indices))
    notes = [
        *footnotes(outcome_notes([group.results for group in groups], rows, labels)),
        *footnotes(method_notes(rows)),
        *asides([*power_notes(rows), *deciding, *skew_notes(groups)]),
        *footnotes(_setting_notes(results, groups, tunings, comparison)),
        *footnotes(_reference_notes(results, row_verdicts)),
    ]
    return Summary(
        rows,
        notes,
        _sentence(groups, row_verdicts, base_indices, comparison),
        _extra_keys(results, TableRuns(groups, timings, by_strength)),
        _shared([result.spec for result in results]),
        max((len(group.runs) for group in groups), default=0),
        baselines.against(comparison, {baselines.method_of(group) for group in groups}),
    )


def _verdicts(
    groups: Sequence[Group], rows: Sequence[SummaryRow], labels: Sequence[str], *, smoke: bool
) -> list[RowVerdict]:
    return [
        verdicts.judge(label, row, group.spec, group.complete, group.test_examples, smoke=smoke)
        for label, row, group in zip(labels, rows, groups, strict=True)
    ]


def _setting_notes(
    results: Sequence[RunResult], groups: Sequence[Group], tunings: Sequence[Tuning], comparison: Comparison
) -> list[str]:
    """How the networks were made and trained, as far as the table's columns do not say it."""
    specs = [group.spec for group in groups]
    return [
        *match_notes(specs),
        *uncounted_notes(specs),
        *baselines.notes(comparison, {baselines.method_of(group) for group in groups}),
        *tuning_notes(tunings),
        *pretraining_notes(results),
    ]


def _reference_notes(results: Sequence[RunResult], row_verdicts: Sequence[RowVerdict]) -> list[str]:
    """What the published numbers are, and what the verdicts on them and the columns of gradients mean."""
    rows = [row_verdict.row for row_verdict in row_verdicts]
    splits = {(result.spec["dataset"], result.spec.get("split", "standard")) for result in results}
    notes = [*references.footnotes(rows), *references.split_notes(rows, splits), *verdicts.footnotes(row_verdicts)]
    return [*notes, gradients.NOTE] if gradients.has_gradients(results) else notes


def _extra_keys(results: Sequence[RunResult], runs: TableRuns) -> list[dict[str, Any]]:
    """The keys of each row beside SummaryRow's."""
    rows = varied_keys(runs.groups)
    for key in COLUMNS:
        values = key.values(runs) if key.values else None
        if values is not None:
            for row, value in zip(rows, values, strict=True):
                row[key.name] = value
    for row, means in zip(rows, measured_means(runs.groups), strict=True):
        row |= means
    if gradients.has_gradients(results):
        for row, group in zip(rows, runs.groups, strict=True):
            row |= gradients.gradient_facts(group.results)
    return rows


def _sentence(
    groups: Sequence[Group], row_verdicts: Sequence[RowVerdict], base_indices: Sequence[int], comparison: Comparison
) -> str:
    """What the rows show, what pre-training gained, and how rows stand to published numbers."""
    if comparison.smoke:
        return SMOKE
    rows = [row_verdict.row for row_verdict in row_verdicts]
    sentences = [
        _error_sentence(groups, rows, base_indices, comparison.pretraining),
        _gain_sentence(groups, rows, base_indices, comparison.pretraining),
        verdicts.sentence(row_verdicts),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _error_sentence(
    groups: Sequence[Group], rows: Sequence[SummaryRow], base_indices: Sequence[int], base_method: str | None
) -> str:
    """Which row has the lowest error; with a `base_method` of pre-training only among the rows of that method."""
    kind = "variants" if any(group.variant for group in groups) else "data sets and models"
    indices = [index for index, row in enumerate(rows) if base_method in (None, row.pretraining)]
    if not indices:
        return ""
    positions = {index: position for position, index in enumerate(indices)}
    entries = entries_by_baseline(
        [groups[index] for index in indices],
        [rows[index] for index in indices],
        [positions[base_indices[index]] for index in indices],
    )
    return summary_sentence(entries, kind)


def _gain_sentence(
    groups: Sequence[Group], rows: Sequence[SummaryRow], base_indices: Sequence[int], base_method: str | None
) -> str:
    """What pre-training gained for the rows that are compared with one of another method; empty without such rows."""
    pairs = []
    for group, row, (index, base_index) in zip(groups, rows, enumerate(base_indices), strict=True):
        if base_method not in (None, row.pretraining) and index != base_index:
            detail = f" ({group.variant_and_noise})" if group.variant_and_noise else ""
            pairs.append((row.activation + detail, row, rows[base_index]))
    return gains(pairs)


def _shared(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys on which all specifications agree."""
    if not specs:
        return {}
    common_values = {key: value for key, value in specs[0].items() if all(spec.get(key) == value for spec in specs)}
    deviations = [spec.get("departures", ()) for spec in specs]
    common_deviations = [
        deviation for deviation in deviations[0] if all(deviation in of_spec for of_spec in deviations)
    ]
    return common_values | {"departures": common_deviations}
