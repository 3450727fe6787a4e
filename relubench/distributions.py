"""Student's distribution and the score intervals of one share and of two paired ones, without SciPy.

SciPy's own would cost a third of a second of start-up, which a table from stored runs can do without; the tests hold
these against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

ALPHA = 0.05
Z = NormalDist().inv_cdf(1 - ALPHA / 2)


def student_cdf(t: float, degrees: float) -> float:
    """P(T <= t) of Student's distribution: 1 - I(degrees / 2, 1 / 2) at degrees / (degrees + t^2) / 2 for t >= 0.

    `degrees` of freedom may be any positive number (Abramowitz & Stegun 26.7.1).
    """
    if t == 0:
        return 0.5
    tail = incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
    return 1 - tail if t > 0 else tail


def student_quantile(quantile: float, degrees: float) -> float:
    """The t with P(T <= t) = quantile, for a quantile of 0.5 to 1."""
    if math.isinf(degrees):
        return NormalDist().inv_cdf(quantile)
    if degrees == 1:
        return math.tan(math.pi * (quantile - 0.5))
    high = 1.0
    while student_cdf(high, degrees) < quantile and high < 1e12:
        high *= 2
    return crossing(lambda t: quantile - student_cdf(t, degrees), 0.0, high)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised I_x(a, b), by its continued fraction (DLMF 8.17.22) with Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        # The fraction converges fast on the other side of the mode only.
        return 1 - incomplete_beta(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    ahead, behind, fraction = 1.0, 0.0, 1.0
    for step in range(500):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        behind = 1 / (1 + term * behind or tiny)
        ahead = 1 + term / ahead or tiny
        fraction *= ahead * behind
        if abs(1 - ahead * behind) < 1e-14:
            break
    return math.exp(logarithm) * (fraction - 1) / a


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share seen in `size` trials (Wilson 1927); both in 0 to 1."""
    centre = share + Z * Z / (2 * size)
    half = Z * math.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size))
    scale = 1 + Z * Z / size
    low, high = (centre - half) / scale, (centre + half) / scale
    return low if share > 0 else 0.0, high if share < 1 else 1.0


def tango(more: int, fewer: int, examples: int) -> tuple[float, float]:
    """Tango's 95 % score interval of (more - fewer) / examples for paired yes-no data (Tango 1998, equation 9).

    `more`: examples that only a got wrong; `fewer`: that only b got wrong.
    """

    def score(delta: float) -> float:
        """The standardised distance of what was seen from a true difference of delta; it falls as delta rises."""
        linear = (2 * examples - more + fewer) * delta - more - fewer
        root = math.sqrt(max(linear * linear + 8 * examples * fewer * delta * (1 - delta), 0.0))
        nuisance = (root - linear) / (4 * examples)
        variance = examples * (2 * nuisance + delta * (1 - delta))
        gap = more - fewer - examples * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    seen = (more - fewer) / examples
    return crossing(lambda one: score(one) - Z, -1.0, seen), crossing(lambda one: score(one) + Z, seen, 1.0)


def crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between low and high, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
