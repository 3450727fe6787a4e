"""Where error starts to rise with sparsity: a broken line through the points, with a bootstrap interval.

error = c + a * min(0, sparsity - s0) + b * max(0, sparsity - s0) with a <= 0: flat or falling up to s0 (a little L1 may
help), then a straight rise. s0 is the one of least squares; the interval comes from refitting to networks drawn with
replacement (Efron 1979).
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

    @property
    def rises(self) -> bool:
        """Whether the error rises at all, beyond noise."""
        return self.slope_low > 0


def onset(sparsity: Sequence[float], error: Sequence[float]) -> Onset | None:
    """The onset fitted to networks' sparsities and errors, in percent; None for fewer than 20, or of one sparsity."""
    x, y = np.asarray(sparsity, float), np.asarray(error, float)
    # What is drawn again must not hang on the order in which runs are given.
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    if len(x) < LEAST_POINTS or np.ptp(x) < 1e-6:
        return None
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=DRAWS).astype(float)
    weights = np.vstack([np.ones(len(x)), drawn])
    # Beyond the 95 % quantile too few points are left to see a rise.
    places = np.linspace(x[0], min(np.quantile(x, 0.95), x[-LEAST_BEYOND]), PLACES)
    fits = [_fit(weights, x - place, y) for place in places]
    misfit, slopes = np.array([one[0] for one in fits]), np.array([one[1] for one in fits])
    best = misfit.argmin(axis=0)
    at, slope = places[best], slopes[best, np.arange(len(best))]
    low, high = np.quantile(at[1:], [0.025, 0.975])
    return Onset(float(at[0]), float(low), float(high), float(slope[0]), float(np.quantile(slope[1:], 0.025)), len(x))


def _fit(weights: Values, x: Values, y: Values) -> tuple[Values, Values]:
    """Of each row of weights [D, N] the squared misfit [D] and the slope [D] at x > 0 of the line broken at 0."""
    below, above = np.minimum(x, 0.0), np.maximum(x, 0.0)
    total = weights.sum(axis=1)

    def covariance(one: Values, other: Values) -> Values:
        return weights @ (one * other) / total - (weights @ one) * (weights @ other) / total**2

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
