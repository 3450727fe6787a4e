"""The closing sentence of a table: which activation had the best score, and which differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import bracket, count, join_names, seeds_range, signed, signed_bracket
from relubench.statistics.error_rates import DIFFERENT, ON_THIS_TEST_SET

ONE_SEED = "test-set noise only; add --seeds 5 to include the noise between trainings"
TWO_SEEDS = "Two seeds say little about how much trainings differ: --seeds 5 narrows the intervals."
SMOKE = (
    "A smoke test: it shows that the preset runs, and nothing is concluded from its numbers; --scale quick is a first "
    "look at the real data."
)
NOTHING_LEARNED = "Nothing learned anything, so that none is the best: every test {noun} is still at chance"
PROBABILITY = "80 % probability"
SPELLED_OUT = 6
"""Up to this many comparisons are written out, more are counted."""
GROUPS_SPELLED_OUT = 3

UNFINISHED = {
    "diverged": "diverged",
    "failed": "failed",
    "stalled": "stalled (still at chance)",
    "ok": "has no test {noun}",
}


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A row with its label, and the seeds that its comparison with the first row of its group rests on."""

    label: str
    row: SummaryRow
    seeds: int = 0
    """Seeds that the comparison has in common with the first row."""


def summary_sentence(groups: Sequence[tuple[str, Sequence[TableEntry]]], kind: str = "data sets and models") -> str:
    """The sentence under a table: the best score, and which differences are more than noise.

    `groups`: the rows that are compared with each other, with a name; `kind`: what those names are names of.
    """
    entries = [entry for _, group in groups for entry in group]
    if not any(entry.row.test_metric is not None for entry in entries):
        return f"No training ended with a test {entries[0].row.posed.noun if entries else 'error'}."
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
        if entry.row.metric_difference and entry.seeds > 1
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
    task = group[0].row.posed
    tested_entries = [entry for entry in group if entry.row.test_metric is not None]
    if not tested_entries:
        return f"{join_names([entry.label for entry in group])}: no test {task.noun}."
    if len(group) == 1:
        remark = "" if group[0].row.learned else " It is still at chance."
        return f"{group[0].label} reached a test {task.noun} of {score_text(group[0].row)}.{remark}"
    if not any(entry.row.learned for entry in tested_entries):
        nothing = NOTHING_LEARNED.format(noun=task.noun)
        return f"{nothing} ({join_names([entry.label for entry in tested_entries])})."
    best = _best_score([entry for entry in tested_entries if entry.row.learned], len(tested_entries))
    # The first row was named just before: 'it' is enough.
    base_name = "it" if best.startswith(f"{group[0].label} had") else group[0].label
    return f"{best} {_comparisons_with_base(group, base_name)}"


def _single_row_sentence(entry: TableEntry) -> str:
    row = entry.row
    seeds = f"with one seed ({ONE_SEED})" if row.n == 1 else f"over {row.n} seeds"
    remark = "" if row.learned else " It stalled: it is still at chance."
    return f"{entry.label} reached a test {row.posed.noun} of {score_text(row)} {seeds}.{remark}"


def _best_score(entries: Sequence[TableEntry], num_tested: int) -> str:
    """Which of the networks that learned anything has the best score; `num_tested`: how many have a score at all."""
    task = entries[0].row.posed
    kind = f"test {task.noun}" if max(entry.row.n for entry in entries) == 1 else f"mean test {task.noun}"
    best = (min if task.lower_is_better else max)(_printed_score(entry.row) for entry in entries)
    best_entries = [entry for entry in entries if _printed_score(entry.row) == best]
    if len(best_entries) == num_tested > 1:
        return f"All have the same {kind}, {task.text(best)}."
    if len(best_entries) == 1:
        return f"{best_entries[0].label} had the {task.best} {kind}, {score_text(best_entries[0].row)}."
    return f"{join_names([entry.label for entry in best_entries])} share the {task.best} {kind}, {task.text(best)}."


def _comparisons_with_base(group: Sequence[TableEntry], base_name: str) -> str:
    base, entries = group[0], group[1:]
    if base.row.test_metric is None:
        return f"Nothing is compared: {base.label}, the first row, {_unfinished(base.row)}."
    with_difference = [entry for entry in entries if entry.row.metric_difference is not None]
    without_difference = [entry for entry in entries if entry.row.metric_difference is None]
    at_chance = [entry.label for entry in group if entry.row.test_metric is not None and not entry.row.learned]
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
    task = row.posed
    interval = signed_bracket(row.metric_difference_ci_low, row.metric_difference_ci_high, task.decimals)
    size = " ".join(filter(None, (signed(row.metric_difference, task.decimals), task.difference_unit, interval)))
    if row.difference_verdict != "noise":
        return f"{entry.label} is {row.difference_verdict}, {size}"
    return f"{entry.label} differs by no more than noise, {size}{_remedy(entry) if only_comparison else ''}"


def _more_seeds(entry: TableEntry) -> str:
    row = entry.row
    return seeds_range(row.seeds_to_resolve_low, row.seeds_to_resolve, row.seeds_to_resolve_high, entry.seeds)


def _remedy(entry: TableEntry) -> str:
    """The number of seeds that would decide a single comparison within noise."""
    if entry.seeds < 2 or not entry.row.metric_difference:
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
    """How often each label had the best score, and how many differences are more than noise, over many groups."""
    task, direction = groups[0][1][0].row.posed, 1 if groups[0][1][0].row.lower_is_better else -1
    wins: dict[str, int] = {}
    for _, group in groups:
        learned_entries = [entry for entry in group if entry.row.test_metric is not None and entry.row.learned]
        if learned_entries:
            best = min(learned_entries, key=lambda entry: direction * _printed_score(entry.row))
            wins[best.label] = wins.get(best.label, 0) + 1
    if not wins:
        return f"{NOTHING_LEARNED.format(noun=task.noun)}."
    sorted_wins = sorted(wins.items(), key=lambda item: -item[1])
    verdicts = [entry.row.difference_verdict for _, group in groups for entry in group if entry.row.difference_verdict]
    num_real = sum(verdict != "noise" for verdict in verdicts)
    ranking = ", ".join(f"{label} in {number}" for label, number in sorted_wins)
    noise = "this test set's noise" if any(verdict.endswith(ON_THIS_TEST_SET) for verdict in verdicts) else "noise"
    differences = f" {num_real} of {count(len(verdicts), 'difference')} to the first row of each are more than {noise}."
    best_scores = f"{task.best.capitalize()} mean test {task.noun} over {len(groups)} {kind}: {ranking}."
    return best_scores + (differences if verdicts else "")


def _reason_without_difference(entry: TableEntry) -> str:
    if entry.row.test_metric is None or not entry.row.n:
        return _unfinished(entry.row)
    return "no seed and test set in common with the first row"


def _unfinished(row: SummaryRow) -> str:
    return UNFINISHED[row.outcome].format(noun=row.posed.noun)


def _seeds(entries: Sequence[TableEntry]) -> str:
    numbers = sorted({entry.seeds for entry in entries})
    return count(numbers[0], "seed") if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} common seeds"


def score_text(row: SummaryRow) -> str:
    """The row's test score with its unit and its interval: '1.43 % [1.21, 1.68]'."""
    interval = bracket(row.test_metric_ci_low, row.test_metric_ci_high, row.posed.decimals)
    return f"{row.posed.text(row.test_metric or 0.0)} {interval}".rstrip()


def _printed_score(row: SummaryRow) -> float:
    """The score as printed, so that a tie in the table is a tie in the sentence."""
    return round(row.test_metric or 0.0, row.posed.decimals)
