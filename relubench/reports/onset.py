"""Where error starts to rise with sparsity: a broken line through the points, with a bootstrap interval.

error = c + b * max(0, sparsity - s0): flat up to s0, then a straight rise. s0 is the one of least squares; the interval
comes from refitting to networks drawn with replacement (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_POINTS = 20
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
    if len(x) < LEAST_POINTS or np.ptp(x) < 1e-6:
        return None
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=DRAWS).astype(float)
    weights = np.vstack([np.ones(len(x)), drawn])
    # Beyond the 95 % quantile too few points are left to see a rise.
    places = np.linspace(x.min(), np.quantile(x, 0.95), PLACES)
    fits = [_fit(weights, np.maximum(x - place, 0.0), y) for place in places]
    misfit, slopes = np.array([one[0] for one in fits]), np.array([one[1] for one in fits])
    best = misfit.argmin(axis=0)
    at, slope = places[best], slopes[best, np.arange(len(best))]
    low, high = np.quantile(at[1:], [0.025, 0.975])
    return Onset(float(at[0]), float(low), float(high), float(slope[0]), float(np.quantile(slope[1:], 0.025)), len(x))


def _fit(weights: Values, x: Values, y: Values) -> tuple[Values, Values]:
    """Of each row of weights [D, N] the squared misfit [D] and the slope [D] of y on x by weighted least squares."""
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    spread = weights @ (x * x) / total - mean_x**2
    together = weights @ (x * y) / total - mean_x * mean_y
    slope = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return weights @ (y * y) / total - mean_y**2 - slope * together, slope
