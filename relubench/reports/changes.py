"""The change of a row between two saved tables: the difference of its test errors, as exactly as the files allow.

Where the files carry which test examples each run got wrong, differences are paired by seed and example, or by example
alone if no seed is common. Else the interval is MOVER's from the two printed ones (Zou & Donner 2008), unpaired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relubench.reports.saved import Row, SavedRow
from relubench.statistics.distributions import ALPHA, student_quantile
from relubench.statistics.error_rates import Difference, critical, paired_difference, unpaired_difference, word
from relubench.statistics.power import ObservedDifference, detectable
from relubench.statistics.variance import Spread

PAIRED, EXAMPLES, UNPAIRED = "seeds and examples", "examples", "nothing"
"""What the two sides of a difference have in common."""
MANY = 1e6
"""Degrees of freedom of the test set's noise: so many that its size counts as exactly known."""
UNKNOWN = 1000
"""Test examples where a file does not say how many there were."""


@dataclass(frozen=True, slots=True)
class Change:
    """A difference in percentage points, later less earlier."""

    difference: float
    low: float
    high: float
    p: float
    verdict: str
    detectable: float | None
    common: str


def change(before: SavedRow, after: SavedRow, comparisons: int) -> Change | None:
    """The difference of two rows, one of `comparisons` in all; None where a test error or an interval is missing."""
    a, b = after.row, before.row
    if a["test_error_pct"] is None or b["test_error_pct"] is None:
        return None
    if before.masks and after.masks and before.digests == after.digests and len(before.digests) == 1:
        seeds = [seed for seed in before.masks if seed in after.masks]
        if seeds:
            masks, base_masks = ([side.masks[seed] for seed in seeds] for side in (after, before))
            return _change_of(paired_difference(masks, base_masks, comparisons), PAIRED)
        if min(len(before.masks), len(after.masks)) > 1 or len(before.masks) == len(after.masks):
            sides = list(after.masks.values()), list(before.masks.values())
            return _change_of(unpaired_difference(*sides, comparisons), EXAMPLES)
    examples = [run["test_examples"] for side in (before, after) for run in side.runs]
    return _mover(a, b, comparisons, min(examples, default=UNKNOWN))


def _change_of(difference: Difference, common: str) -> Change:
    return Change(
        difference.difference,
        difference.low,
        difference.high,
        difference.p,
        difference.verdict,
        difference.detectable,
        common,
    )


def _mover(a: Row, b: Row, comparisons: int, examples: int) -> Change | None:
    """Zou & Donner's interval of a - b out of the 95 % intervals of both, widened for the number of comparisons.

    Widened by Student's t with the degrees of freedom of the side that has fewer seeds.
    """
    ends = [row[f"test_error_ci_{end}_pct"] for row in (a, b) for end in ("low", "high")]
    if None in ends:
        return None
    gap, seeds = a["test_error_pct"] - b["test_error_pct"], min(a["n"], b["n"])
    degrees = float(seeds - 1) if seeds > 1 else MANY
    plain, quantile = 1 - ALPHA / 2, critical(comparisons)
    wider = student_quantile(quantile, degrees) / student_quantile(plain, degrees)
    down = math.hypot(a["test_error_pct"] - ends[0], ends[3] - b["test_error_pct"])
    up = math.hypot(ends[1] - a["test_error_pct"], b["test_error_pct"] - ends[2])
    low, high = max(gap - wider * down, -100.0), min(gap + wider * up, 100.0)
    half = down if gap > 0 else up
    error = half / student_quantile(plain, degrees) / 100
    spread = Spread(degrees, error**2, 0.0, 0.0) if seeds > 1 else Spread(degrees, 0.0, error**2, 0.0)
    p = min(1.0, comparisons * spread.level(abs(gap) / 100)) if half > 0 else float(gap == 0)
    sight = ObservedDifference(max(seeds, 1), examples, gap / 100, min(a["test_error_pct"], b["test_error_pct"]) / 100)
    size = detectable(spread, sight, quantile)
    return Change(gap, low, high, p, word(gap, low, high, seeds), None if size is None else 100 * size, UNPAIRED)
