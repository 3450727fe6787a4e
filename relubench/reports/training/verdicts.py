"""The verdict of a row against its reference number: the published one if there is one, else the article's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relubench.experiments import references
from relubench.experiments.comparability import PAPER_IMAGES, why_not
from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import join_names, seeds_range, signed, signed_bracket
from relubench.statistics.equivalence import Reproduction, compare_with_published, margin_pct
from relubench.statistics.example_scores import Scores

NOT_COMPARABLE = "not comparable"
ONE_SEED = "one seed does not tell how much trainings differ"
DIGITS = 6


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """A row with its verdict, and the comparison with the reference; None where there was nothing to compare."""

    label: str
    row: SummaryRow
    reproduction: Reproduction | None = None
    test_examples: int = 0
    """How many the reference was measured on."""


def judge(
    label: str,
    row: SummaryRow,
    spec: Mapping[str, Any],
    masks: Sequence[Scores],
    test_examples: int,
    *,
    smoke: bool = False,
) -> RowVerdict:
    """The row with `verdict` and the keys that explain it; one seed leaves a comparable row undecided.

    `masks` is empty where it is not known which examples were wrong. A row without a test error gets no verdict.
    """
    if row.test_metric is None:
        return RowVerdict(label, row)
    reason = why_not(row, spec, test_examples) or ("a smoke test" if smoke else None)
    if reason is not None:
        return RowVerdict(label, replace(row, verdict=NOT_COMPARABLE, verdict_reason=reason))
    reference = "published" if row.published_error_pct is not None else "article"
    value = row.published_error_pct if reference == "published" else row.article_error_pct
    assert value is not None
    row = replace(row, verdict="undecided", verdict_against=reference)
    if len(masks) < 2:
        return RowVerdict(
            label, replace(row, verdict_reason=ONE_SEED if row.n == 1 else "too few test results are stored")
        )
    size = PAPER_IMAGES[row.dataset][1] if reference == "published" else test_examples
    source = "glorot2011" if reference == "published" else "article"
    margin = margin_pct(references.typical_error_pct(source, row.dataset), size)
    reproduction = compare_with_published(masks, value, size, margin)
    row = replace(
        row,
        verdict=reproduction.verdict,
        verdict_reason=_deciding_reason(reproduction, len(masks)) if reproduction.verdict == "undecided" else None,
        reference_difference_pct=round(reproduction.difference, DIGITS),
        reference_ci_low_pct=round(reproduction.low, DIGITS),
        reference_ci_high_pct=round(reproduction.high, DIGITS),
        margin_pct=round(reproduction.margin, DIGITS),
    )
    return RowVerdict(label, row, reproduction, size)


def footnotes(row_verdicts: Sequence[RowVerdict]) -> list[str]:
    """What the verdicts mean, which rows have none and why, and what would decide the undecided ones."""
    if all(
        row_verdict.row.published_error_pct is None and row_verdict.row.article_error_pct is None
        for row_verdict in row_verdicts
    ):
        return []
    decided_rows = [row_verdict for row_verdict in row_verdicts if row_verdict.reproduction]
    notes = [_rule_note(decided_rows)] if decided_rows else []
    notes += [f"{verdict}: {_labels_by_reason(row_verdicts, verdict)}" for verdict in ("undecided", NOT_COMPARABLE)]
    return [note for note in notes if not note.endswith(": ")] + _tuning_note(row_verdicts)


def sentence(row_verdicts: Sequence[RowVerdict]) -> str:
    """'Against the published value: relu reproduced (-0.08 points [-0.42, +0.26]).' Empty where nothing was judged."""
    sentences = []
    for reference, words in (("published", "the published value"), ("article", "the article's value")):
        selection = [
            row_verdict
            for row_verdict in row_verdicts
            if row_verdict.row.verdict_against == reference and row_verdict.reproduction
        ]
        parts = [_group_text(selection, verdict) for verdict in ("reproduced", "better", "worse", "undecided")]
        if selection:
            plural = "s" * (reference == "published" and len(selection) > 1)
            sentences.append(f"Against {words}{plural}: {'; '.join(filter(None, parts))}.")
    return " ".join(sentences)


def _group_text(row_verdicts: Sequence[RowVerdict], verdict: str) -> str:
    selection = [row_verdict for row_verdict in row_verdicts if row_verdict.row.verdict == verdict]
    if not selection:
        return ""
    if len(row_verdicts) > 4:
        return f"{join_names([row_verdict.label for row_verdict in selection])} {verdict}"
    return ", ".join(f"{row_verdict.label} {verdict} ({_difference_text(row_verdict)})" for row_verdict in selection)


def _difference_text(row_verdict: RowVerdict) -> str:
    row = row_verdict.row
    interval = signed_bracket(row.reference_ci_low_pct, row.reference_ci_high_pct)
    return f"{signed(row.reference_difference_pct)} points {interval}"


def _rule_note(row_verdicts: Sequence[RowVerdict]) -> str:
    """The rule, with the margin and the size of the reference's test set for each data set and source."""
    kinds = {row_verdict.row.verdict_against for row_verdict in row_verdicts}
    values = "published value" if "published" in kinds else "article's value"
    values += ", else the article's" if len(kinds) > 1 else ""
    margins = dict.fromkeys(
        f"±{row_verdict.reproduction.margin:.2f} points on {row_verdict.row.dataset} "
        f"({row_verdict.test_examples:,} test examples)"
        for row_verdict in row_verdicts
        if row_verdict.reproduction
    )
    return (
        f"verdict on the {values}: reproduced if the 90 % interval of the difference lies within {', '.join(margins)}, "
        "twice such a value's own 95 % noise; better or worse if the difference is larger and its 95 % interval "
        "excludes zero; the value counts as one network, on other test examples, with our noise between trainings"
    )


def _labels_by_reason(row_verdicts: Sequence[RowVerdict], verdict: str) -> str:
    """The labels of the rows with this verdict, by its reason: 'gelu, silu (not among the paper's activations)'."""
    selection = [
        row_verdict
        for row_verdict in row_verdicts
        if row_verdict.row.verdict == verdict and row_verdict.row.verdict_reason
    ]
    reasons = dict.fromkeys(row_verdict.row.verdict_reason for row_verdict in selection)
    labels_of = {
        reason: [row_verdict.label for row_verdict in selection if row_verdict.row.verdict_reason == reason]
        for reason in reasons
    }
    return "; ".join(f"{join_names(labels)} ({reason})" for reason, labels in labels_of.items())


def _deciding_reason(reproduction: Reproduction, seeds: int) -> str:
    seeds_needed = reproduction.seeds_to_settle
    seeds_text = seeds_range(seeds_needed.low, seeds_needed.likely, seeds_needed.high, seeds)
    if not seeds_text:
        return "no number of seeds would settle it: the test set's noise and the reference's own do not shrink"
    return f"{seeds_text} would settle it, if the difference is as it looks"


def _tuning_note(row_verdicts: Sequence[RowVerdict]) -> list[str]:
    """A note where learning rates were fixed, which may be a disadvantage: the paper chose each by validation error."""
    selection = [
        row_verdict
        for row_verdict in row_verdicts
        if row_verdict.reproduction and row_verdict.row.verdict_against == "published"
    ]
    if all(
        row_verdict.row.lr_budget is not None or row_verdict.row.verdict == "reproduced" for row_verdict in selection
    ):
        return []
    return ["the paper searched every network's learning rate by validation error, as --lr auto does"]
