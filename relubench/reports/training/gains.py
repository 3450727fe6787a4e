"""What pre-training gained over the same network without, in words, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import count, duration, fixed, signed, signed_bracket
from relubench.statistics.error_rates import ON_THIS_TEST_SET

SPELLED_OUT = 6
"""Gains up to this many are told one by one, more are counted."""


def gains(pairs: Sequence[tuple[str, SummaryRow, SummaryRow]]) -> str:
    """'sigmoid: rbm gains 1.21 points [+1.02, +1.40] over no pre-training, ...; ...' of (name, row, its first row)."""
    if not pairs:
        return ""
    if len(pairs) > SPELLED_OUT:
        return " ".join(
            _method_counts(pairs, method) for method in dict.fromkeys(row.pretraining for _, row, _ in pairs)
        )
    names = dict.fromkeys(name for name, _, _ in pairs)
    sentences = [
        f"{name}: " + "; ".join(gain(row, base) for pair_name, row, base in pairs if pair_name == name)
        for name in names
    ]
    return ". ".join(sentences) + "."


def gain(row: SummaryRow, base_row: SummaryRow) -> str:
    """'rbm gains 1.21 points [+1.02, +1.40] over none, in 1.8 times the time (3m against 1m40s); ...'"""
    base = "no pre-training" if base_row.pretraining == "none" else base_row.pretraining
    if row.metric_difference is None:
        return f"{row.pretraining} could not be compared with {base} ({row.outcome})"
    size = _gained(row, row.metric_difference)
    if not (row.learned or base_row.learned):
        return f"{row.pretraining} and {base}: neither learned anything, both are still at chance"
    text = f"{row.pretraining} {_gain_word(row)}{size}, over {base}"
    return text + _cost(row, base_row) + _published_gains(row, base_row)


def _gained(row: SummaryRow, difference: float) -> str:
    """'+1.21 points [+1.02, +1.40]': by how much the score is better."""
    task, low, high = row.posed, row.metric_difference_ci_low, row.metric_difference_ci_high
    if task.lower_is_better:
        difference, low, high = -difference, None if high is None else -high, None if low is None else -low
    interval = signed_bracket(low, high, task.decimals)
    return " ".join(filter(None, (signed(difference, task.decimals), task.difference_unit, interval)))


def _directions(row: SummaryRow) -> tuple[str, str]:
    """The words for a better score and for a worse one."""
    return ("lower", "higher") if row.lower_is_better else ("higher", "lower")


def _gain_word(row: SummaryRow) -> str:
    """'gains ', 'loses on this test set ', 'gains no more than noise, '."""
    direction, *limit = (row.difference_verdict or "noise").split(" ", maxsplit=1)
    better, worse = _directions(row)
    word = {better: "gains", worse: "loses"}.get(direction, "gains no more than noise,")
    return " ".join([word, *(f"{part}," for part in limit), ""])


def _method_counts(pairs: Sequence[tuple[str, SummaryRow, SummaryRow]], method: str) -> str:
    """'dae gained more than noise in 3 of 10 comparisons with no pre-training (...) and lost in none.'"""
    selection = [(name, row, base_row) for name, row, base_row in pairs if row.pretraining == method]
    rows = [(name, row) for name, row, _ in selection if row.metric_difference is not None]
    base = "no pre-training" if selection[0][2].pretraining == "none" else selection[0][2].pretraining
    better, worse = (
        [name for name, row in rows if (row.difference_verdict or "").startswith(word)]
        for word in _directions(selection[0][1])
    )
    noise = "noise"
    if any((row.difference_verdict or "").endswith(ON_THIS_TEST_SET) for _, row in rows):
        noise = "this test set's noise"
    gain_counts = f"{len(better) or 'none'} of {count(len(rows), 'comparison')} with {base}"
    gain_counts += f" ({', '.join(better)})" if better else ""
    losses = f"{len(worse)} ({', '.join(worse)})" if worse else "none"
    return f"{method} gained more than {noise} in {gain_counts} and lost in {losses}."


def _cost(row: SummaryRow, base_row: SummaryRow) -> str:
    if not row.seconds or not base_row.seconds:
        return ""
    times = row.seconds / base_row.seconds
    return f", in {times:.2g} times the time ({duration(row.seconds)} against {duration(base_row.seconds)})"


def _published_gains(row: SummaryRow, base_row: SummaryRow) -> str:
    """The published gains, where the errors with and without pre-training are both known."""
    pairs = {
        "the paper's gain": (base_row.published_error_pct, row.published_error_pct),
        "the article's": (base_row.article_error_pct, row.article_error_pct),
    }
    gain_texts = [
        f"{name} is {signed(base_error - error)} ({fixed(base_error)} to {fixed(error)})"
        for name, (base_error, error) in pairs.items()
        if base_error is not None and error is not None
    ]
    return f"; {', '.join(gain_texts)}" if gain_texts else ""
