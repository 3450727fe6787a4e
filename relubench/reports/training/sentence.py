"""The closing sentence of a table: which activation had the lowest error, and which differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import bracket, count, fixed, join_names, seeds_range, signed, signed_bracket
from relubench.statistics.error_rates import DIFFERENT, ON_THIS_TEST_SET

ONE_SEED = "test-set noise only; add --seeds 5 to include the noise between trainings"
TWO_SEEDS = "Two seeds say little about how much trainings differ: --seeds 5 narrows the intervals."
SMOKE = (
    "A smoke test: it shows that the preset runs, and nothing is concluded from its numbers; --scale quick is a first "
    "look at the real data."
)
NOTHING_LEARNED = "Nothing learned anything, so that none is the best: every test error is still at chance"
PROBABILITY = "80 % probability"
SPELLED_OUT = 6
"""Up to this many comparisons are written out, more are counted."""
GROUPS_SPELLED_OUT = 3

UNFINISHED = {
    "diverged": "diverged",
    "failed": "failed",
    "stalled": "stalled (still at chance)",
    "ok": "has no test error",
}


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A row with its label, and the seeds that its comparison with the first row of its group rests on."""

    label: str
    row: SummaryRow
    seeds: int = 0
    """Seeds that the comparison has in common with the first row."""


def summary_sentence(groups: Sequence[tuple[str, Sequence[TableEntry]]], kind: str = "data sets and models") -> str:
    """The sentence under a table: the lowest error, and which differences are more than noise.

    `groups`: the rows that are compared with each other, with a name; `kind`: what those names are names of.
    """
    if not any(entry.row.test_error_pct is not None for _, group in groups for entry in group):
        return "No training ended with a test error."
    entries = [entry for _, group in groups for entry in group]
    if len(entries) == 1:
        return _single_row_sentence(entries[0])
    if len(groups) == 1:
        text = _group_sentence(groups[0][1])
    elif len(groups) > GROUPS_SPELLED_OUT:
        text = _win_counts(groups, kind)
    else:
        lead = "On " if kind == "data sets and models" else "With "
        text = " ".join(f"{lead}{name}: {_group_sentence(group)}" for name, group in groups)
    return f"{text} {_caveat(entries)}".rstrip()


def deciding_notes(groups: Sequence[tuple[str, Sequence[TableEntry]]]) -> list[str]:
    """A note on how many seeds would decide the differences within noise; for a single one the sentence says it."""
    comparisons = [
        (f"{entry.label} ({name})" if len(groups) > 1 else entry.label, entry)
        for name, group in groups
        for entry in group[1:]
        if entry.row.difference_pct and entry.seeds > 1
    ]
    noise = [(label, entry) for label, entry in comparisons if entry.row.difference_verdict == "noise"]
    if len(comparisons) < 2 or not noise:
        return []
    ranges = [(label, entry.row.seeds_to_resolve_low or 0, _more_seeds(entry).rstrip(",")) for label, entry in noise]
    possible = sorted((least, f"{seeds_text} for {label}") for label, least, seeds_text in ranges if seeds_text)
    impossible = [label for label, _, seeds_text in ranges if not seeds_text]
    parts = [join_names([words for _, words in possible])] if possible else []
    parts += (
        [f"no number of seeds for {join_names(impossible)}: the test set is too small for it"] if impossible else []
    )
    reason = " (a range, since so few seeds do not tell exactly how much trainings differ)" if possible else ""
    seeds = f"{'; '.join(parts)}{reason}"
    return [f"to show the differences called noise with {PROBABILITY}, if they are as large as they look: {seeds}"]


def _group_sentence(group: Sequence[TableEntry]) -> str:
    tested_entries = [entry for entry in group if entry.row.test_error_pct is not None]
    if not tested_entries:
        return f"{join_names([entry.label for entry in group])}: no test error."
    if len(group) == 1:
        remark = "" if group[0].row.learned else " It is still at chance."
        return f"{group[0].label} reached a test error of {_error(group[0].row)}.{remark}"
    if not any(entry.row.learned for entry in tested_entries):
        return f"{NOTHING_LEARNED} ({join_names([entry.label for entry in tested_entries])})."
    lowest = _lowest_error([entry for entry in tested_entries if entry.row.learned], len(tested_entries))
    # The first row was named just before: 'it' is enough.
    base_name = "it" if lowest.startswith(f"{group[0].label} had") else group[0].label
    return f"{lowest} {_comparisons_with_base(group, base_name)}"


def _single_row_sentence(entry: TableEntry) -> str:
    row = entry.row
    seeds = f"with one seed ({ONE_SEED})" if row.n == 1 else f"over {row.n} seeds"
    remark = "" if row.learned else " It stalled: it is still at chance."
    return f"{entry.label} reached a test error of {_error(row)} {seeds}.{remark}"


def _lowest_error(entries: Sequence[TableEntry], num_tested: int) -> str:
    """Which of the networks that learned anything has the lowest error; `num_tested`: how many have an error at all."""
    kind = "test error" if max(entry.row.n for entry in entries) == 1 else "mean test error"
    least = min(_printed_error(entry.row) for entry in entries)
    best_entries = [entry for entry in entries if _printed_error(entry.row) == least]
    if len(best_entries) == num_tested > 1:
        return f"All have the same {kind}, {fixed(least)} %."
    if len(best_entries) == 1:
        return f"{best_entries[0].label} had the lowest {kind}, {_error(best_entries[0].row)}."
    return f"{join_names([entry.label for entry in best_entries])} share the lowest {kind}, {fixed(least)} %."


def _comparisons_with_base(group: Sequence[TableEntry], base_name: str) -> str:
    base, entries = group[0], group[1:]
    if base.row.test_error_pct is None:
        return f"Nothing is compared: {base.label}, the first row, {UNFINISHED[base.row.outcome]}."
    with_difference = [entry for entry in entries if entry.row.difference_pct is not None]
    without_difference = [entry for entry in entries if entry.row.difference_pct is None]
    at_chance = [entry.label for entry in group if entry.row.test_error_pct is not None and not entry.row.learned]
    parts = [f"Still at chance: {join_names(at_chance)}."] if at_chance else []
    # After other names 'it' would be one of them.
    base_name = base.label if at_chance else base_name
    if with_difference:
        body = (
            _one_by_one(with_difference) if len(with_difference) <= SPELLED_OUT else _count_by_verdict(with_difference)
        )
        parts.append(f"Compared with {base_name} ({_seeds(with_difference)}): {body}.")
    for reason in dict.fromkeys(_reason_without_difference(entry) for entry in without_difference):
        names = [entry.label for entry in without_difference if _reason_without_difference(entry) == reason]
        parts.append(f"Not compared: {join_names(names)} ({reason}).")
    return " ".join(parts)


def _one_by_one(entries: Sequence[TableEntry]) -> str:
    return "; ".join(_comparison(entry, only_comparison=len(entries) == 1) for entry in entries)


def _comparison(entry: TableEntry, *, only_comparison: bool) -> str:
    row = entry.row
    interval = signed_bracket(row.difference_ci_low_pct, row.difference_ci_high_pct)
    size = f"{signed(row.difference_pct)} points {interval}"
    if row.difference_verdict != "noise":
        return f"{entry.label} is {row.difference_verdict}, {size}"
    return f"{entry.label} differs by no more than noise, {size}{_remedy(entry) if only_comparison else ''}"


def _more_seeds(entry: TableEntry) -> str:
    row = entry.row
    return seeds_range(row.seeds_to_resolve_low, row.seeds_to_resolve, row.seeds_to_resolve_high, entry.seeds)


def _remedy(entry: TableEntry) -> str:
    """The number of seeds that would decide a single comparison within noise."""
    if entry.seeds < 2 or not entry.row.difference_pct:
        return ""
    seeds_text = _more_seeds(entry)
    if not seeds_text:
        return "; no number of seeds would settle a difference this small: the test set is too small for it"
    return f"; if the difference is as large as it looks, {seeds_text} would show it with {PROBABILITY}"


def _count_by_verdict(entries: Sequence[TableEntry]) -> str:
    labels_by_word = [
        (words, [entry.label for entry in entries if entry.row.difference_verdict == verdict])
        for verdict, words in [*((kind, kind) for kind in DIFFERENT), ("noise", "within noise")]
    ]
    return f"of {len(entries)}, " + ", ".join(
        f"{len(labels)} {words} ({join_names(labels)})" for words, labels in labels_by_word if labels
    )


def _caveat(group: Sequence[TableEntry]) -> str:
    """What the intervals leave out when a single seed was trained, and why they are wide with two."""
    if any(entry.seeds == 1 for entry in group) or max(entry.row.n for entry in group) == 1:
        return ONE_SEED[0].upper() + ONE_SEED[1:] + "."
    return TWO_SEEDS if any(entry.seeds == 2 for entry in group) else ""


def _win_counts(groups: Sequence[tuple[str, Sequence[TableEntry]]], kind: str) -> str:
    """How often each label had the lowest error, and how many differences are more than noise, over many groups."""
    wins: dict[str, int] = {}
    for _, group in groups:
        learned_entries = [entry for entry in group if entry.row.test_error_pct is not None and entry.row.learned]
        if learned_entries:
            best = min(learned_entries, key=lambda entry: _printed_error(entry.row))
            wins[best.label] = wins.get(best.label, 0) + 1
    if not wins:
        return f"{NOTHING_LEARNED}."
    sorted_wins = sorted(wins.items(), key=lambda item: -item[1])
    verdicts = [entry.row.difference_verdict for _, group in groups for entry in group if entry.row.difference_verdict]
    num_real = sum(verdict != "noise" for verdict in verdicts)
    ranking = ", ".join(f"{label} in {number}" for label, number in sorted_wins)
    noise = "this test set's noise" if any(verdict.endswith(ON_THIS_TEST_SET) for verdict in verdicts) else "noise"
    differences = f" {num_real} of {count(len(verdicts), 'difference')} to the first row of each are more than {noise}."
    lowest = f"Lowest mean test error over {len(groups)} {kind}: {ranking}."
    return lowest + (differences if verdicts else "")


def _reason_without_difference(entry: TableEntry) -> str:
    if entry.row.test_error_pct is None:
        return UNFINISHED[entry.row.outcome]
    return "no seed and test set in common with the first row" if entry.row.n else UNFINISHED[entry.row.outcome]


def _seeds(entries: Sequence[TableEntry]) -> str:
    numbers = sorted({entry.seeds for entry in entries})
    return count(numbers[0], "seed") if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} common seeds"


def _error(row: SummaryRow) -> str:
    interval = bracket(row.test_error_ci_low_pct, row.test_error_ci_high_pct)
    return f"{fixed(row.test_error_pct)} % {interval}".rstrip()


def _printed_error(row: SummaryRow) -> float:
    """The error as printed, so that a tie in the table is a tie in the sentence."""
    return round(row.test_error_pct or 0.0, 2)
