"""The closing sentence of a table: which activation had the lowest error, and which differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import bracket, count, fixed, listed, seeds_range, signed, signed_bracket
from relubench.statistics.error_rates import DIFFERENT, ON_THIS_TEST_SET

ONE_SEED = "test-set noise only; add --seeds 5 to include the noise between trainings"
TWO_SEEDS = "Two seeds say little about how much trainings differ: --seeds 5 narrows the intervals."
SMOKE = (
    "A smoke test: it shows that the preset runs, and nothing is concluded from its numbers; --scale quick is a first "
    "look at the real data."
)
NOTHING_LEARNED = "Nothing learned anything, so that none is the best: every test error is still at chance"
SHOWN = "80 % probability"
SPELLED_OUT = 6
"""Comparisons up to this many are given one by one, more are counted."""
GROUPS_SPELLED_OUT = 3

UNFINISHED = {
    "diverged": "diverged",
    "failed": "failed",
    "stalled": "stalled (still at chance)",
    "ok": "has no test error",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A row and what its comparison with the first row of its group rests on."""

    label: str
    row: SummaryRow
    seeds: int = 0
    """Seeds that the comparison has in common with the first row."""


def closing(groups: Sequence[tuple[str, Sequence[Standing]]], kind: str = "data sets and models") -> str:
    """The sentence under a table, from its groups of comparable rows, each with its name; `kind` is what they are."""
    if not any(one.row.test_error_pct is not None for _, group in groups for one in group):
        return "No training ended with a test error."
    everything = [one for _, group in groups for one in group]
    if len(everything) == 1:
        return _alone(everything[0])
    if len(groups) == 1:
        told = _about(groups[0][1])
    elif len(groups) > GROUPS_SPELLED_OUT:
        told = _tally(groups, kind)
    else:
        lead = "On " if kind == "data sets and models" else "With "
        told = " ".join(f"{lead}{name}: {_about(group)}" for name, group in groups)
    return f"{told} {_caution(everything)}".rstrip()


def settling(groups: Sequence[tuple[str, Sequence[Standing]]]) -> list[str]:
    """A line on what would settle the differences within noise; none for a lone one, of which the sentence says it."""
    compared = [
        (f"{one.label} ({name})" if len(groups) > 1 else one.label, one)
        for name, group in groups
        for one in group[1:]
        if one.row.difference_pct and one.seeds > 1
    ]
    noise = [(label, one) for label, one in compared if one.row.difference_verdict == "noise"]
    if len(compared) < 2 or not noise:
        return []
    ranges = [(label, one.row.seeds_to_resolve_low or 0, _more_seeds(one).rstrip(",")) for label, one in noise]
    known = sorted((least, f"{more} for {label}") for label, least, more in ranges if more)
    never = [label for label, _, more in ranges if not more]
    parts = [listed([words for _, words in known])] if known else []
    parts += [f"no number of seeds for {listed(never)}: the test set is too small for it"] if never else []
    why = " (a range, since so few seeds do not tell exactly how much trainings differ)" if known else ""
    return [
        f"to show the differences called noise with {SHOWN}, if they are as large as they look: {'; '.join(parts)}{why}"
    ]


def _about(group: Sequence[Standing]) -> str:
    finished = [one for one in group if one.row.test_error_pct is not None]
    if not finished:
        return f"{listed([one.label for one in group])}: no test error."
    if len(group) == 1:
        still = "" if group[0].row.learned else " It is still at chance."
        return f"{group[0].label} reached a test error of {_error(group[0].row)}.{still}"
    if not any(one.row.learned for one in finished):
        return f"{NOTHING_LEARNED} ({listed([one.label for one in finished])})."
    lowest = _lowest([one for one in finished if one.row.learned], len(finished))
    # The first row was named just before: 'it' is enough.
    first = "it" if lowest.startswith(f"{group[0].label} had") else group[0].label
    return f"{lowest} {_against_first(group, first)}"


def _alone(one: Standing) -> str:
    row = one.row
    over = f"with one seed ({ONE_SEED})" if row.n == 1 else f"over {row.n} seeds"
    stalled = "" if row.learned else " It stalled: it is still at chance."
    return f"{one.label} reached a test error of {_error(row)} {over}.{stalled}"


def _lowest(learned: Sequence[Standing], finished: int) -> str:
    """Who of those that learned anything has the lowest error; `finished`: how many have an error at all."""
    kind = "test error" if max(one.row.n for one in learned) == 1 else "mean test error"
    least = min(_shown(one.row) for one in learned)
    best = [one for one in learned if _shown(one.row) == least]
    if len(best) == finished > 1:
        return f"All have the same {kind}, {fixed(least)} %."
    if len(best) == 1:
        return f"{best[0].label} had the lowest {kind}, {_error(best[0].row)}."
    return f"{listed([one.label for one in best])} share the lowest {kind}, {fixed(least)} %."


def _against_first(group: Sequence[Standing], named: str) -> str:
    first, others = group[0], group[1:]
    if first.row.test_error_pct is None:
        return f"Nothing is compared: {first.label}, the first row, {UNFINISHED[first.row.outcome]}."
    compared = [one for one in others if one.row.difference_pct is not None]
    missing = [one for one in others if one.row.difference_pct is None]
    chance = [one.label for one in group if one.row.test_error_pct is not None and not one.row.learned]
    parts = [f"Still at chance: {listed(chance)}."] if chance else []
    # After other names 'it' would be one of them.
    named = first.label if chance else named
    if compared:
        body = _one_by_one(compared) if len(compared) <= SPELLED_OUT else _counted(compared)
        parts.append(f"Compared with {named} ({_seeds(compared)}): {body}.")
    for reason in dict.fromkeys(_why_missing(one) for one in missing):
        names = [one.label for one in missing if _why_missing(one) == reason]
        parts.append(f"Not compared: {listed(names)} ({reason}).")
    return " ".join(parts)


def _one_by_one(compared: Sequence[Standing]) -> str:
    return "; ".join(_comparison(one, alone=len(compared) == 1) for one in compared)


def _comparison(one: Standing, *, alone: bool) -> str:
    row = one.row
    interval = signed_bracket(row.difference_ci_low_pct, row.difference_ci_high_pct)
    size = f"{signed(row.difference_pct)} points {interval}"
    if row.difference_verdict != "noise":
        return f"{one.label} is {row.difference_verdict}, {size}"
    return f"{one.label} differs by no more than noise, {size}{_remedy(one) if alone else ''}"


def _more_seeds(one: Standing) -> str:
    row = one.row
    return seeds_range(row.seeds_to_resolve_low, row.seeds_to_resolve, row.seeds_to_resolve_high, one.seeds)


def _remedy(one: Standing) -> str:
    """What would settle a single undecided comparison."""
    if one.seeds < 2 or not one.row.difference_pct:
        return ""
    more = _more_seeds(one)
    if not more:
        return "; no number of seeds would settle a difference this small: the test set is too small for it"
    return f"; if the difference is as large as it looks, {more} would show it with {SHOWN}"


def _counted(compared: Sequence[Standing]) -> str:
    named = [
        (words, [one.label for one in compared if one.row.difference_verdict == verdict])
        for verdict, words in [*((kind, kind) for kind in DIFFERENT), ("noise", "within noise")]
    ]
    return f"of {len(compared)}, " + ", ".join(
        f"{len(names)} {words} ({listed(names)})" for words, names in named if names
    )


def _caution(group: Sequence[Standing]) -> str:
    """What the intervals leave out when a single seed was trained, and why they are wide with two."""
    if any(one.seeds == 1 for one in group) or max(one.row.n for one in group) == 1:
        return ONE_SEED[0].upper() + ONE_SEED[1:] + "."
    return TWO_SEEDS if any(one.seeds == 2 for one in group) else ""


def _tally(groups: Sequence[tuple[str, Sequence[Standing]]], kind: str) -> str:
    """How often each label was lowest, and how many differences are real, where there are too many groups to tell."""
    wins: dict[str, int] = {}
    for _, group in groups:
        learned = [one for one in group if one.row.test_error_pct is not None and one.row.learned]
        if learned:
            best = min(learned, key=lambda one: _shown(one.row))
            wins[best.label] = wins.get(best.label, 0) + 1
    if not wins:
        return f"{NOTHING_LEARNED}."
    ranked = sorted(wins.items(), key=lambda item: -item[1])
    verdicts = [one.row.difference_verdict for _, group in groups for one in group if one.row.difference_verdict]
    real = sum(one != "noise" for one in verdicts)
    told = ", ".join(f"{label} in {number}" for label, number in ranked)
    noise = "this test set's noise" if any(one.endswith(ON_THIS_TEST_SET) for one in verdicts) else "noise"
    compared = f" {real} of {count(len(verdicts), 'difference')} to the first row of each are more than {noise}."
    lowest = f"Lowest mean test error over {len(groups)} {kind}: {told}."
    return lowest + (compared if verdicts else "")


def _why_missing(one: Standing) -> str:
    if one.row.test_error_pct is None:
        return UNFINISHED[one.row.outcome]
    return "no seed and test set in common with the first row" if one.row.n else UNFINISHED[one.row.outcome]


def _seeds(compared: Sequence[Standing]) -> str:
    numbers = sorted({one.seeds for one in compared})
    return count(numbers[0], "seed") if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} common seeds"


def _error(row: SummaryRow) -> str:
    interval = bracket(row.test_error_ci_low_pct, row.test_error_ci_high_pct)
    return f"{fixed(row.test_error_pct)} % {interval}".rstrip()


def _shown(row: SummaryRow) -> float:
    """The error as printed, so that a tie in the table is a tie in the sentence."""
    return round(row.test_error_pct or 0.0, 2)
