"""Medians and ratios of interleaved samples with intervals that assume no distribution, and their verdicts.

Every round measures every candidate of a case once, in random order, so that a round's samples met the same machine:
ratios are taken within rounds, and their median is reported. Its interval lies between two of the ordered ratios whose
ranks the binomial distribution gives (Hollander, Wolfe & Chicken 2014, section 3.6): it holds for any noise, and needs
six rounds. The ratio of a candidate to itself is as often above 1 as below, since the order is random: the level is
exact.

Rounds of one process say nothing about the next one: a process's layout in memory can make code faster or slower for as
long as it lives (Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously wrong!"). Several
processes therefore count as observations as well, each with the median of its rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from relubench.statistics.distributions import student_quantile

LEVEL = 0.05
"""Two-sided: intervals are 95 % or a little more."""

LEAST_ROUNDS = 6
"""With fewer rounds even the lowest and the highest of all do not enclose the median with 95 % probability."""

LEAST_PROCESSES = 4
"""With fewer processes Student's interval over them is too wide to be of use."""

Verdict = Literal["faster", "slower", "no difference"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its interval, whose ends are None where there are too few samples. See `over_processes`."""

    median: float
    low: float | None
    high: float | None
    samples: int

    @property
    def relative_width(self) -> float:
        """The interval's full width over the median; infinite without an interval."""
        if self.low is None or self.high is None or self.median == 0:
            return math.inf
        return (self.high - self.low) / abs(self.median)


def median(values: Sequence[float]) -> Estimate:
    """The median of independent samples with its distribution-free interval; ValueError if there are none."""
    if not len(values):
        raise ValueError("no samples, no median")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    rank = interval_rank(len(ordered))
    middle = float(np.median(ordered))
    if rank == 0:
        return Estimate(middle, None, None, len(ordered))
    return Estimate(middle, float(ordered[rank - 1]), float(ordered[-rank]), len(ordered))


def over_processes(values: Sequence[float], rounds: Sequence[int]) -> Estimate:
    """The median of all rounds; its interval holds `median`'s, and Student's over the logarithms of processes' medians.

    The former ignores that processes differ, and a few processes may agree by chance better than their rounds allow;
    together they miss less often than 5 %. With fewer processes than LEAST_PROCESSES there is no interval.

    `values`: positive, process after process, as many of each as it had `rounds`; ValueError where they are not.
    """
    if sum(rounds) != len(values):
        raise ValueError(f"{len(values)} values are not those of {len(rounds)} processes")
    pooled = median(values)
    if len(rounds) < LEAST_PROCESSES:
        return Estimate(pooled.median, None, None, pooled.samples)
    processes = np.split(np.asarray(values, dtype=np.float64), np.cumsum(rounds)[:-1])
    logs = np.log([np.median(process) for process in processes])
    half_width = student_quantile(1 - LEVEL / 2, len(logs) - 1) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    bounds = [pooled.median, *np.exp([np.mean(logs) - half_width, np.mean(logs) + half_width])]
    bounds += [bound for bound in (pooled.low, pooled.high) if bound is not None]
    return Estimate(pooled.median, float(min(bounds)), float(max(bounds)), pooled.samples)


def of_rounds(values: Sequence[float], rounds: Sequence[int]) -> Estimate:
    """The estimate from the values of all rounds; `rounds`: the number of each process, if there were several."""
    return over_processes(values, rounds) if len(rounds) > 1 else median(values)


def ratio(values: Sequence[float], base: Sequence[float]) -> Estimate:
    """The median over rounds of value / base, both in the order of the rounds; ValueError if their numbers differ."""
    if len(values) != len(base):
        raise ValueError(f"{len(values)} and {len(base)} rounds cannot be paired")
    return median([value / base_value for value, base_value in zip(values, base, strict=True)])


def interval_rank(samples: int, level: float = LEVEL) -> int:
    """The largest k with P(Binomial(n, 1/2) < k) <= level/2: the k-th from either end are the interval; 0 for none."""
    below, k = 0.0, 0
    while k <= samples // 2:
        below += math.comb(samples, k) / 2**samples
        if below > level / 2:
            return k
        k += 1
    return k


def is_difference(estimate: Estimate, level: float = 1.0) -> bool:
    """Whether the interval excludes `level`."""
    return estimate.low is not None and estimate.high is not None and not estimate.low <= level <= estimate.high


def aa_band(control: Estimate) -> tuple[float, float]:
    """The band of the A/A control: the interval of a candidate's ratio to itself, mirrored about 1 in the logarithm."""
    if control.low is None or control.high is None or control.low <= 0:
        return 0.0, math.inf
    widest = max(control.high, 1 / control.low, 1.0)
    return 1 / widest, widest


def verdict(estimate: Estimate, band: tuple[float, float]) -> Verdict | None:
    """The verdict on a ratio: faster or slower only where its interval lies outside the A/A control's band."""
    if estimate.low is None or estimate.high is None:
        return None
    if estimate.high < band[0]:
        return "faster"
    return "slower" if estimate.low > band[1] else "no difference"


def binomial_band(trials: int, share: float, level: float = LEVEL) -> tuple[int, int]:
    """The range of counts that a share of `trials` exceeds with a probability of at most level/2 on either side."""
    chances = [math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)]
    cumulative = np.cumsum(chances)
    low = int(np.searchsorted(cumulative, level / 2, side="right"))
    high = int(np.searchsorted(cumulative, 1 - level / 2, side="left"))
    return low, min(high, trials)


def drift(samples: Sequence[float]) -> float:
    """How much slower the last third of a series is than its first: 0.05 is 5 % slower; 0 for fewer than six."""
    third = len(samples) // 3
    if third < 2:
        return 0.0
    return float(np.median(samples[-third:]) / np.median(samples[:third])) - 1.0
