"""Where error starts to rise with sparsity: a broken line through the points, with a bootstrap interval.

error = c + a * min(0, sparsity - s0) + b * max(0, sparsity - s0) with a <= 0: flat or falling up to s0 (a little L1 may
help), then a straight rise. s0 is the one of least squares; the interval comes from refitting to networks drawn with
replacement (Efron 1979). Since s0 is put where a rise fits best, that interval's slope is above 0 too often: whether
there is a rise at all is asked of the same networks with their errors exchanged (Fisher 1935).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_POINTS = 20
LEAST_BEYOND = 5
"""Fewer networks beyond the onset do not make a rise."""
DRAWS = 1000
ALLOWED = 0.025
"""The largest `chance` of a rise that counts: one side of 5 %."""
PLACES = 80
"""Candidates for s0."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Onset:
    """Where the rise begins, in percent of zeros, and its slope in points of error for a point of sparsity; 95 %."""

    at: float
    low: float
    high: float
    slope: float
    slope_low: float
    points: int
    chance: float
    """Probability of a rise as clear as this one if errors and sparsities had nothing to do with each other."""

    @property
    def rises(self) -> bool:
        """Whether the error rises at all, beyond noise."""
        return self.slope_low > 0 and self.chance <= ALLOWED


def onset(sparsity: Sequence[float], error: Sequence[float]) -> Onset | None:
    """The onset fitted to networks' sparsities and errors, in percent; None for fewer than 20, or of one sparsity."""
    x, y = np.asarray(sparsity, float), np.asarray(error, float)
    # The resamples must not depend on the order of the runs.
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    if len(x) < LEAST_POINTS or np.ptp(x) < 1e-6:
        return None
    random = np.random.default_rng(0)
    resamples = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=DRAWS).astype(float)
    weights = np.vstack([np.ones(len(x)), resamples])
    # Beyond the 95 % quantile too few points are left to see a rise.
    places = np.linspace(x[0], min(np.quantile(x, 0.95), x[-LEAST_BEYOND]), PLACES)
    fits = [_fit(weights, x - place, y) for place in places]
    misfit, slopes = np.array([fit[0] for fit in fits]), np.array([fit[1] for fit in fits])
    best = misfit.argmin(axis=0)
    at, slope = places[best], slopes[best, np.arange(len(best))]
    low, high = np.quantile(at[1:], [0.025, 0.975])
    least = float(np.quantile(slope[1:], 0.025))
    chance = _chance(x, y, places, random)
    return Onset(float(at[0]), float(low), float(high), float(slope[0]), least, len(x), chance)


def _chance(x: Values, y: Values, places: Values, random: np.random.Generator) -> float:
    """The share of exchanges of the errors whose best rise, over its standard error, is as large as the one seen."""
    errors = np.vstack([y, *(random.permutation(y) for _ in range(DRAWS))])
    errors -= errors.mean(axis=1, keepdims=True)
    best = np.zeros(len(errors))
    for place in places:
        below, above = np.minimum(x - place, 0.0), np.maximum(x - place, 0.0)
        below, above = below - below.mean(), above - above.mean()
        with_below, with_above = errors @ below, errors @ above
        # What of the rise the falling part does not explain, where that part falls.
        is_falling = (with_below < 0) & (below @ below > 1e-12)
        shared = above @ below / max(below @ below, 1e-12)
        of_rise = above @ above - np.where(is_falling, shared * (above @ below), 0.0)
        with_rise = with_above - np.where(is_falling, shared * with_below, 0.0)
        explained_by_fall = np.where(is_falling, with_below**2 / max(below @ below, 1e-12), 0.0)
        slope = with_rise / np.maximum(of_rise, 1e-12)
        misfit = np.maximum((errors**2).sum(axis=1) - explained_by_fall - slope * with_rise, 1e-12)
        best = np.maximum(best, slope * np.sqrt(np.maximum(of_rise, 0.0) / misfit))
    return float((best >= best[0] * (1 - 1e-9)).sum() / len(best))


def _fit(weights: Values, x: Values, y: Values) -> tuple[Values, Values]:
    """Of each row of weights [D, N] the squared misfit [D] and the slope [D] at x > 0 of the line broken at 0."""
    below, above = np.minimum(x, 0.0), np.maximum(x, 0.0)
    total = weights.sum(axis=1)

    def covariance(a: Values, b: Values) -> Values:
        return weights @ (a * b) / total - (weights @ a) * (weights @ b) / total**2

    spread_below, spread_above, spread = covariance(below, below), covariance(above, above), covariance(y, y)
    shared, with_below, with_above = covariance(below, above), covariance(below, y), covariance(above, y)
    determinant = spread_below * spread_above - shared**2
    falling = _ratio(with_below * spread_above - with_above * shared, determinant)
    rising = _ratio(with_above * spread_below - with_below * shared, determinant)
    # A rise below the place is no part of the line: then it is flat there.
    flat = (falling >= 0.0) | (determinant <= 1e-12)
    rising = np.where(flat, _ratio(with_above, spread_above), rising)
    falling = np.where(flat, 0.0, falling)
    return spread - falling * with_below - rising * with_above, rising


def _ratio(above: Values, below: Values) -> Values:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12)
