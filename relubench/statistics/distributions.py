"""Student's and the beta distribution, and the intervals of a share and of two paired ones, without SciPy.

SciPy's own would cost a third of a second of start-up, which a table from stored runs can do without; the tests hold
these against it.
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
        gap = incomplete_beta(a, b, x) - quantile
        low, high = (low, x) if gap > 0 else (x, high)
        density = math.exp(scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))
        step = x - gap / density if density > 1e-200 else -1.0
        before, x = x, step if low < step < high else (low + high) / 2
        if abs(x - before) <= 1e-10 * x or not 0 < x < 1:
            break
    return x


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
    # It takes some sqrt(max(a, b)) steps.
    for step in range(20_000):
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


def share_interval(share: float, variance: float, examples: int, extra: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a share of `examples` whose estimate has this variance; both ends in 0 to 1.

    The quantiles of the beta distributions that have the share's mean and variance after `extra` examples more: wrong
    for the upper end, right for the lower. Of independent examples, share (1 - share) / examples, and one more, that is
    Clopper & Pearson's interval (1934); of others what Fay & Feuer (1997) do for weighted counts: it covers where few
    examples carry all of the errors, so that the variance itself is hardly known.
    """
    more = examples + extra
    scale = (examples / more) ** 2 * examples / (examples + 2 * extra)
    ends = []
    for side, quantile in ((0, ALPHA / 2), (1, 1 - ALPHA / 2)):
        mean = (share * examples + extra * side) / more
        spread = scale * (variance + extra * abs(side - share) / examples**2)
        if not 0 < mean < 1 or spread <= 0:
            ends.append(mean)
            continue
        # At most what 0 and 1 alone would have: a beta distribution has no more.
        weight = max(mean * (1 - mean) / spread - 1, 1e-3)
        ends.append(beta_quantile(quantile, mean * weight, (1 - mean) * weight))
    return ends[0], ends[1]


def tango(more: int, fewer: int, examples: int, z: float = Z) -> tuple[float, float]:
    """Tango's score interval of (more - fewer) / examples for paired yes-no data (Tango 1998, equation 9).

    `more`: examples that only a got wrong; `fewer`: that only b got wrong; `z`: 1.96 for 95 %.
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
    return crossing(lambda one: score(one) - z, -1.0, seen), crossing(lambda one: score(one) + z, seen, 1.0)


def crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between low and high, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def rising_root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero between low and high, or the end that is nearer to it (Illinois' rule)."""
    below, above = rising(low), rising(high)
    if below >= 0 or above <= 0:
        return low if below >= 0 else high
    side = 0
    for _ in range(100):
        middle = high - above * (high - low) / (above - below)
        value = rising(middle)
        if value == 0 or high - low <= 1e-12 * high:
            return middle
        if value > 0:
            below *= 0.5 if side > 0 else 1.0
            high, above, side = middle, value, 1
        else:
            above *= 0.5 if side < 0 else 1.0
            low, below, side = middle, value, -1
    return (low + high) / 2
