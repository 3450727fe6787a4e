"""The change of a row between two saved tables: the difference of its test errors, as exactly as the files allow.

Where the files carry which test examples each run got wrong, differences are paired by seed and example, or by example
alone if no seed is common. Else the interval is MOVER's from the two printed ones (Zou & Donner 2008), unpaired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relubench.reports.saved import SavedRow
from relubench.runs.task import CLASSIFICATION
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
    """A difference, later less earlier; of errors in percentage points."""

    difference: float
    low: float
    high: float
    p: float
    verdict: str
    detectable: float | None
    common: str


def change(before: SavedRow, after: SavedRow, comparisons: int) -> Change | None:
    """The difference of two rows, one of `comparisons` in all; None where a test error or an interval is missing."""
    if after.score[0] is None or before.score[0] is None or after.task != before.task:
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
    return _mover(after, before, comparisons, min(examples, default=UNKNOWN))


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


def _mover(after: SavedRow, before: SavedRow, comparisons: int, examples: int) -> Change | None:
    """Zou & Donner's interval of a - b out of the 95 % intervals of both, widened for the number of comparisons.

    Widened by Student's t with the degrees of freedom of the side that has fewer seeds.
    """
    (a, a_low, a_high), (b, b_low, b_high) = after.score, before.score
    if a is None or a_low is None or a_high is None or b is None or b_low is None or b_high is None:
        return None
    gap, seeds = a - b, min(after.row["n"], before.row["n"])
    scale, bound = (100, 100.0) if after.task == CLASSIFICATION else (1, math.inf)
    degrees = float(seeds - 1) if seeds > 1 else MANY
    plain, quantile = 1 - ALPHA / 2, critical(comparisons)
    wider = student_quantile(quantile, degrees) / student_quantile(plain, degrees)
    down, up = math.hypot(a - a_low, b_high - b), math.hypot(a_high - a, b - b_low)
    low, high = max(gap - wider * down, -bound), min(gap + wider * up, bound)
    half = down if gap > 0 else up
    error = half / student_quantile(plain, degrees) / scale
    spread = Spread(degrees, error**2, 0.0, 0.0) if seeds > 1 else Spread(degrees, 0.0, error**2, 0.0)
    p = min(1.0, comparisons * spread.level(abs(gap) / scale)) if half > 0 else float(gap == 0)
    lower_error = min(a, b) / scale if after.task == CLASSIFICATION else None
    size = detectable(spread, ObservedDifference(max(seeds, 1), examples, gap / scale, lower_error), quantile)
    return Change(gap, low, high, p, word(gap, low, high, seeds), None if size is None else scale * size, UNPAIRED)
