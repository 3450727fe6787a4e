"""The verdict of a row against its reference number: the published one if there is one, else the article's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relubench.experiments import references
from relubench.experiments.comparability import PAPER_IMAGES, why_not
from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import listed, seeds_range, signed, signed_bracket
from relubench.statistics.equivalence import Reproduction, compare_with_published, margin_pct
from relubench.statistics.error_rates import Mask

NOT_COMPARABLE = "not comparable"
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with its verdict, and what the verdict rests on; None where it rests on no measurement."""

    label: str
    row: SummaryRow
    found: Reproduction | None = None
    test_examples: int = 0
    """Of the reference."""


def judge(
    label: str,
    row: SummaryRow,
    spec: Mapping[str, Any],
    masks: Sequence[Mask],
    test_examples: int,
    *,
    smoke: bool = False,
) -> Judged:
    """The row with `verdict` and what belongs to it; `masks` is empty where which examples were wrong is not known.

    Without a test error, or in a smoke test, there is nothing to judge. One seed leaves a comparable row undecided.
    """
    if row.test_error_pct is None:
        return Judged(label, row)
    reason = why_not(row, spec, test_examples) or ("a smoke test" if smoke else None)
    if reason is not None:
        return Judged(label, replace(row, verdict=NOT_COMPARABLE, verdict_reason=reason))
    which = "published" if row.published_error_pct is not None else "article"
    value = row.published_error_pct if which == "published" else row.article_error_pct
    assert value is not None
    row = replace(row, verdict="undecided", verdict_against=which)
    if len(masks) < 2:
        why = "one seed does not tell how much trainings differ" if row.n == 1 else "too few test results are stored"
        return Judged(label, replace(row, verdict_reason=why))
    size = PAPER_IMAGES[row.dataset][1] if which == "published" else test_examples
    source = "glorot2011" if which == "published" else "article"
    margin = margin_pct(references.typical_error_pct(source, row.dataset), size)
    found = compare_with_published(masks, value, size, margin)
    row = replace(
        row,
        verdict=found.verdict,
        verdict_reason=_settling(found, len(masks)) if found.verdict == "undecided" else None,
        reference_difference_pct=round(found.difference, DIGITS),
        reference_ci_low_pct=round(found.low, DIGITS),
        reference_ci_high_pct=round(found.high, DIGITS),
        margin_pct=round(found.margin, DIGITS),
    )
    return Judged(label, row, found, size)


def footnotes(judged: Sequence[Judged]) -> list[str]:
    """What the verdicts mean, whom they leave out and why, and what would settle the undecided ones."""
    if all(one.row.published_error_pct is None and one.row.article_error_pct is None for one in judged):
        return []
    found = [one for one in judged if one.found]
    notes = [_meaning(found)] if found else []
    notes += [f"{verdict}: {_grouped(judged, verdict)}" for verdict in ("undecided", NOT_COMPARABLE)]
    return [note for note in notes if not note.endswith(": ")] + _untuned(judged)


def sentence(judged: Sequence[Judged]) -> str:
    """'Against the published value: relu reproduced (-0.08 points [-0.42, +0.26]).' Empty where nothing was judged."""
    told = []
    for which, words in (("published", "the published value"), ("article", "the article's value")):
        mine = [one for one in judged if one.row.verdict_against == which and one.found]
        parts = [_decided(mine, verdict) for verdict in ("reproduced", "better", "worse", "undecided")]
        if mine:
            told.append(f"Against {words}{'s' * (which == 'published' and len(mine) > 1)}: {_joined(parts)}.")
    return " ".join(told)


def _decided(judged: Sequence[Judged], verdict: str) -> str:
    mine = [one for one in judged if one.row.verdict == verdict]
    if not mine:
        return ""
    if len(judged) > 4:
        return f"{listed([one.label for one in mine])} {verdict}"
    return ", ".join(f"{one.label} {verdict} ({_size(one)})" for one in mine)


def _size(one: Judged) -> str:
    row = one.row
    interval = signed_bracket(row.reference_ci_low_pct, row.reference_ci_high_pct)
    return f"{signed(row.reference_difference_pct)} points {interval}"


def _joined(parts: Sequence[str]) -> str:
    return "; ".join(part for part in parts if part)


def _meaning(found: Sequence[Judged]) -> str:
    """The rule, with the margin and the size of the other side's test set for each data set and source."""
    kinds = {one.row.verdict_against for one in found}
    values = "published value" if "published" in kinds else "article's value"
    values += ", else the article's" if len(kinds) > 1 else ""
    margins = dict.fromkeys(
        f"±{one.found.margin:.2f} points on {one.row.dataset} ({one.test_examples:,} test examples)"
        for one in found
        if one.found
    )
    return (
        f"verdict on the {values}: reproduced if the 90 % interval of the difference lies within {', '.join(margins)}, "
        "twice such a value's own 95 % noise; better or worse if the difference is larger and its 95 % interval "
        "excludes zero; the value counts as one network, on other test examples, with our noise between trainings"
    )


def _grouped(judged: Sequence[Judged], verdict: str) -> str:
    """Labels by reason: 'gelu, silu (not among the paper's activations)'."""
    mine = [one for one in judged if one.row.verdict == verdict and one.row.verdict_reason]
    reasons = dict.fromkeys(one.row.verdict_reason for one in mine)
    return "; ".join(
        f"{listed([one.label for one in mine if one.row.verdict_reason == reason])} ({reason})" for reason in reasons
    )


def _settling(found: Reproduction, seeds: int) -> str:
    needed = found.seeds_to_settle
    more = seeds_range(needed.low, needed.likely, needed.high, seeds)
    if not more:
        return "no number of seeds would settle it: the test set's noise and the reference's own do not shrink"
    return f"{more} would settle it, if the difference is as it looks"


def _untuned(judged: Sequence[Judged]) -> list[str]:
    """The paper chose every rate by validation error; a fixed one is a handicap of unknown size."""
    mine = [one for one in judged if one.found and one.row.verdict_against == "published"]
    if all(one.row.lr_budget is not None or one.row.verdict == "reproduced" for one in mine):
        return []
    return ["the paper searched every network's learning rate by validation error, as --lr auto does"]
