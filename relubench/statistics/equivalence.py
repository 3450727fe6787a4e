"""Is a measured error the published one? A test of equivalence against a value that carries noise of its own.

A published error p comes from one network and M test examples: its variance is p (1 - p) / M for the examples, and one
network's variance between trainings, which nobody published and which is taken from our own seeds. The two sets of test
examples count as independent: where they are the same, the noise is smaller and the verdict cautious.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from relubench.statistics.distributions import ALPHA, Z
from relubench.statistics.error_rates import stack_masks
from relubench.statistics.example_scores import Scores
from relubench.statistics.power import SeedsNeeded, fewest_seeds, range_of_variances
from relubench.statistics.variance import Spread, crossed_spread

Verdict = Literal["reproduced", "better", "worse", "undecided"]

LEAST_MARGIN_PCT = 0.1
"""The smallest margin, in percentage points: published tables are rounded, and allow no finer claim."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A measured mean error less a published one, in percentage points, with its 95 % interval and its verdict."""

    difference: float
    low: float
    high: float
    margin: float
    verdict: Verdict
    seeds_to_settle: SeedsNeeded
    """The seeds at which the same difference would be decided; None if it is decided, or if no number is enough."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """The variances of a difference to one published network, as fractions squared."""

    seeds: int
    our_mean: Spread
    """Of our mean over `seeds` seeds."""
    published_examples: float

    def spread(self, seeds: int) -> Spread:
        """The variances of the difference with `seeds` seeds."""
        shrinkage = self.seeds / seeds
        one_network = self.seeds * max(self.our_mean.between_seeds - self.our_mean.interaction, 0.0)
        between = self.our_mean.between_seeds * shrinkage + one_network
        examples = self.our_mean.examples + self.published_examples
        return Spread(max(seeds, self.seeds) - 1, between, examples, self.our_mean.interaction * shrinkage)


def margin_pct(typical_pct: float, test_examples: int) -> float:
    """The margin within which two errors count as equal: twice the half-width of a published value's own 95 % noise.

    With half of that nothing could be reproduced, since two test sets of that size differ by as much. With it, two
    equal networks are found equal in 37 to 76 % of simulated cases, depending on the seeds and on how much trainings
    differ. `typical_pct` is one error for all values of a source: a margin that depended on the published value would
    depend on its noise. Percentage points, at least LEAST_MARGIN_PCT.
    """
    share = typical_pct / 100
    return max(2 * 100 * Z * math.sqrt(share * (1 - share) / test_examples), LEAST_MARGIN_PCT)


def compare_with_published(
    wrong: Sequence[Scores], published_pct: float, test_examples: int, margin_pct: float
) -> Reproduction:
    """The mean error of S >= 2 masks [N] compared with one published network's error on `test_examples` examples.

    reproduced: the 90 % interval of the difference lies within the margin (two one-sided tests, Schuirmann 1987).
    better, worse: zero lies outside its 95 % interval, and the difference beyond the margin. Else undecided. Raises
    ValueError for fewer than two masks: one seed does not tell how much trainings differ.
    """
    errors = stack_masks(wrong)
    if len(errors) < 2:
        raise ValueError("one seed does not tell how much trainings differ")
    share = published_pct / 100
    noise = _Noise(len(errors), crossed_spread(errors), share * (1 - share) / test_examples)
    gap, margin = float(errors.mean()) - share, margin_pct / 100
    verdict = _verdict(gap, margin, noise.spread(len(errors)))
    needed = _seeds_to_decide(noise, gap, margin) if verdict == "undecided" else SeedsNeeded(None, None, None)
    half = noise.spread(len(errors)).half_width(1 - ALPHA / 2)
    return Reproduction(100 * gap, 100 * (gap - half), 100 * (gap + half), margin_pct, verdict, needed)


def _seeds_to_decide(noise: _Noise, gap: float, margin: float) -> SeedsNeeded:
    """The number of seeds that would decide, for the variances between trainings that agree with our seeds."""

    def seeds_to_decide(between: float) -> int | None:
        assumed = replace(noise, our_mean=replace(noise.our_mean, between_seeds=between))
        return fewest_seeds(noise.seeds, lambda seeds: _verdict(gap, margin, assumed.spread(seeds)) != "undecided")

    low, likely, high = range_of_variances(noise.our_mean)
    return SeedsNeeded(seeds_to_decide(likely), seeds_to_decide(low), seeds_to_decide(high))


def _verdict(gap: float, margin: float, spread: Spread) -> Verdict:
    if abs(gap) + spread.half_width(1 - ALPHA) <= margin:
        return "reproduced"
    if abs(gap) > margin and abs(gap) > spread.half_width(1 - ALPHA / 2):
        return "better" if gap < 0 else "worse"
    return "undecided"
