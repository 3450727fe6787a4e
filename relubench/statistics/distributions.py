"""Student's and the beta distribution, and the intervals of one share and of two paired shares, without SciPy.

Importing SciPy would add a third of a second to the start of every table from stored runs; the tests compare these
functions with SciPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
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


@lru_cache(maxsize=4096)
def student_quantile(quantile: float, degrees: float) -> float:
    """The t with P(T <= t) = quantile, for a quantile of 0.5 to 1.

    Newton's method from the normal quantile, which is never above: the distribution is concave for t > 0, so that the
    steps go up to the root and not beyond it.
    """
    t = NormalDist().inv_cdf(quantile)
    if math.isinf(degrees) or t <= 0:
        return max(t, 0.0)
    if degrees == 1:
        return math.tan(math.pi * (quantile - 0.5))
    scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    for _ in range(100):
        density = math.exp(scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))
        # Tails, not cumulative shares: near 1 the latter have no digits left.
        step = (student_cdf(-t, degrees) - (1 - quantile)) / density
        t += step
        if step < 1e-10 * t:
            break
    return t


def beta_quantile(quantile: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = quantile, by halving between bounds that Newton's steps narrow."""
    low, high, x = 0.0, 1.0, a / (a + b)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(200):
        excess = incomplete_beta(a, b, x) - quantile
        low, high = (low, x) if excess > 0 else (x, high)
        density = math.exp(scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))
        step = x - excess / density if density > 1e-200 else -1.0
        previous, x = x, step if low < step < high else (low + high) / 2
        if abs(x - previous) <= 1e-10 * x or not 0 < x < 1:
            break
    return x


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised I_x(a, b), by its continued fraction (DLMF 8.17.22) with Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        # The fraction converges fast on the other side of the mode only.
        return 1 - incomplete_beta(b, a, 1 - x)
    log_prefactor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    lentz_c, lentz_d, fraction = 1.0, 0.0, 1.0
    # It takes some sqrt(max(a, b)) steps.
    for step in range(20_000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lentz_d = 1 / (1 + term * lentz_d or tiny)
        lentz_c = 1 + term / lentz_c or tiny
        fraction *= lentz_c * lentz_d
        if abs(1 - lentz_c * lentz_d) < 1e-14:
            break
    return math.exp(log_prefactor) * (fraction - 1) / a


def share_interval(share: float, variance: float, examples: int, extra: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a share of `examples` whose estimate has this variance; both ends in 0 to 1.

    The ends are quantiles of the beta distributions that have the share's mean and variance after `extra` more
    examples, wrong ones for the upper end and right ones for the lower. With the variance of independent examples,
    share (1 - share) / examples, and one extra example, that is Clopper & Pearson's interval (1934); with another
    variance it is Fay & Feuer's (1997) for weighted counts, which still covers where a few examples carry all of the
    errors, so that the variance itself is hardly known.
    """
    total = examples + extra
    scale = (examples / total) ** 2 * examples / (examples + 2 * extra)
    bounds = []
    for side, quantile in ((0, ALPHA / 2), (1, 1 - ALPHA / 2)):
        mean = (share * examples + extra * side) / total
        variance_of_side = scale * (variance + extra * abs(side - share) / examples**2)
        if not 0 < mean < 1 or variance_of_side <= 0:
            bounds.append(mean)
            continue
        # A beta distribution's variance is at most that of the values 0 and 1 alone.
        weight = max(mean * (1 - mean) / variance_of_side - 1, 1e-3)
        bounds.append(beta_quantile(quantile, mean * weight, (1 - mean) * weight))
    return bounds[0], bounds[1]


def tango_interval(only_a: int, only_b: int, examples: int, z: float = Z) -> tuple[float, float]:
    """Tango's score interval of (only_a - only_b) / examples for paired yes-no data (Tango 1998, equation 9).

    `only_a`: examples that only a got wrong; `only_b`: that only b got wrong; `z`: 1.96 for 95 %.
    """

    def score(delta: float) -> float:
        """The standardised distance of the observed difference from a true one of delta; it falls as delta rises."""
        linear = (2 * examples - only_a + only_b) * delta - only_a - only_b
        root = math.sqrt(max(linear * linear + 8 * examples * only_b * delta * (1 - delta), 0.0))
        nuisance = (root - linear) / (4 * examples)
        variance = examples * (2 * nuisance + delta * (1 - delta))
        gap = only_a - only_b - examples * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    difference = (only_a - only_b) / examples
    low = crossing(lambda delta: score(delta) - z, -1.0, difference)
    high = crossing(lambda delta: score(delta) + z, difference, 1.0)
    return low, high


def crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """The point between low and high at which a falling function crosses zero, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def rising_root(rising: Callable[[float], float], low: float, high: float) -> float:
    """The point at which a rising function crosses zero, or the end that is nearer to it (the Illinois method)."""
    low_value, high_value = rising(low), rising(high)
    if low_value >= 0 or high_value <= 0:
        return low if low_value >= 0 else high
    side = 0
    for _ in range(100):
        middle = high - high_value * (high - low) / (high_value - low_value)
        value = rising(middle)
        if value == 0 or high - low <= 1e-12 * high:
            return middle
        if value > 0:
            low_value *= 0.5 if side > 0 else 1.0
            high, high_value, side = middle, value, 1
        else:
            high_value *= 0.5 if side < 0 else 1.0
            low, low_value, side = middle, value, -1
    return (low + high) / 2
