"""The lines under a training table that say how it came about: outcomes, intervals, learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.reports.cells import count, fixed, listed
from relubench.results import RunResult, SummaryRow, Tuning

OUTCOMES = ("ok", "stalled", "diverged", "failed")
"""From best to worst: a row shows the worst of its seeds."""


def outcome_notes(
    groups: Sequence[Sequence[RunResult]], rows: Sequence[SummaryRow], labels: Sequence[str]
) -> list[str]:
    """Runs that are not ok, with their number and reason, and rows without an interval."""
    notes = []
    for runs, row, label in zip(groups, rows, labels, strict=True):
        for outcome in OUTCOMES[1:]:
            which = [one for one in runs if one.outcome == outcome]
            if not which:
                continue
            why = next((" ".join(one.message.split()) for one in which if one.message), "")
            counted = (
                f"; its mean is over the {count(row.n, 'seed')} with a test error" if 0 < row.n < len(runs) else ""
            )
            reason = f" ({why})" if why else ""
            notes.append(f"{label}: {len(which)} of {count(len(runs), 'seed')} {outcome}{reason}{counted}")
        if row.n and row.test_error_ci_low_pct is None:
            notes.append(f"{label}: no interval, since which test examples it got wrong is not stored")
    return notes


def method_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the intervals and differences mean, and how small a difference the table could have seen."""
    spans = {row.n > 1 for row in rows if row.test_error_ci_low_pct is not None}
    if not spans:
        return []
    words = {True: "over seeds and test examples", False: "over test examples only (one seed)"}
    note = "95 % intervals " + " or ".join(words[one] for one in sorted(spans, reverse=True))
    seen = [row.detectable_difference_pct for row in rows if row.detectable_difference_pct is not None]
    if not seen:
        return [note]
    note += "; differences are paired by seed and example and called noise unless p < 0.05 after Holm's correction"
    low, high = fixed(min(seen)), fixed(max(seen))
    sizes = f"{low} points" if low == high else f"{low} to {high} points"
    return [note, f"the smallest difference this table could have seen, with 80 % probability: {sizes}"]


def match_notes(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the gated networks have in common with the plain ones; `specs` one a row."""
    words = {
        "parameters": "narrowed to the parameters of the plain network, within 1 %",
        "width": "as wide as the plain network, so with more parameters",
    }
    notes = []
    for match, told in words.items():
        names = dict.fromkeys(one["activation"] for one in specs if one.get("match") == match)
        notes += [f"{listed(list(names))}: {told}"] if names else []
    return notes


def tuning_notes(tuned: Sequence[Tuning]) -> list[str]:
    """The budget of `--lr auto`, and whose rate lies at an edge of the grid."""
    if not tuned:
        return []
    budgets = dict.fromkeys(one.budget for one in tuned)
    grid = ", ".join(f"{rate:g}" for rate in tuned[0].errors)
    each = "each activation" if len(tuned) > 1 else tuned[0].activation
    notes = [f"lr: chosen for {each} by validation error among {grid} ({'; '.join(budgets)}), on seeds not reported"]
    for edge in ("lowest", "highest"):
        names = [one.activation for one in tuned if one.edge == edge]
        if names:
            notes.append(
                f"{listed(names)}: the {edge} rate of the grid was best, so a better one may lie beyond it "
                "(--set train.lr_grid=[...])"
            )
    return notes
