"""L1 strengths for many networks: the range in which they matter, by short runs, and draws from it. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.plan import l1_of_sum, tuning_seeds
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec

FIRST_SUMS = (1e-6, 1e-1)
"""The first short runs have strengths between these, as coefficients of the sum: from no effect to a collapse."""
FIRST_PILOTS, LATER_ROUNDS = 4, 2
"""So many short runs at first, then so many times two more where the ends of the range lie: eight in all."""
PILOT_SHARE, LEAST_EPOCHS = 0.25, 3
"""A short run has this share of the epochs asked for, but so many if there are: zeros go on growing with training."""
LOW_PCT, HIGH_PCT = 70.0, 99.0
RISE_PCT = 1.0
"""Where zeros are more than LOW_PCT without a penalty, the range begins where they have risen by this."""
ZERO_EVERY = 10
"""One network in so many has no penalty."""


def first_strengths(spec: RunSpec) -> tuple[float, ...]:
    """The strengths of the first short runs of a network like `spec`."""
    unit = l1_of_sum(1.0, spec)
    return tuple(_rounded(float(one) / unit) for one in np.geomspace(*FIRST_SUMS, FIRST_PILOTS))


def pilot(config: ExperimentConfig, strengths: tuple[float, ...]) -> ExperimentConfig:
    """Short runs of the first activation at these strengths, on a seed not reported."""
    epochs = min(config.train.epochs, max(LEAST_EPOCHS, math.ceil(PILOT_SHARE * config.train.epochs)))
    change = {"l1": strengths, "epochs": epochs, "warmup_epochs": min(config.train.warmup_epochs, epochs / 2)}
    train = config.train.model_copy(update=change)
    return config.model_copy(
        update={"act": config.act[:1], "seeds": tuning_seeds(config)[:1], "train": train, "keep": "none"}
    )


def next_strengths(results: Sequence[RunResult]) -> tuple[float, ...]:
    """Two strengths to try next: amid the neighbours between which the range begins, and those between which it ends.

    A network that did not learn is beyond the end. None where the end lies outside of what was tried.
    """
    logs, shares = _curve(results)
    beyond = sorted(one for one in np.log([one.spec["l1_asked"] for one in results]) if one > logs[-1])
    logs, shares = np.append(logs, beyond), np.append(shares, [100.0] * len(beyond))
    gaps = [_gap(shares, at) for at in (_low_pct(shares), HIGH_PCT)]
    parts = (1 / 3, 2 / 3) if gaps[0] == gaps[1] else (0.5, 0.5)
    return tuple(
        _rounded(math.exp(logs[gap - 1] + part * (logs[gap] - logs[gap - 1])))
        for gap, part in zip(gaps, parts, strict=True)
        if gap is not None
    )


def span(results: Sequence[RunResult]) -> tuple[float, float]:
    """The strengths at which zeros reach 70 and 99 %, between the short runs on a logarithmic scale.

    Where they are more than 70 % without a penalty, it begins where they start to rise. Where they never are so many,
    it ends with the last network that learns. Near zeros count where there are no exact ones.
    """
    logs, shares = _curve(results)
    low, high = (_crossing(logs, shares, at) for at in (_low_pct(shares), HIGH_PCT))
    low, high = (low, high) if low < high else (logs[0], logs[-1])
    return math.exp(low), math.exp(high)


def zeros(result: RunResult) -> float | None:
    """The sparsity that a penalty is judged by: exact zeros, near zeros where there are none."""
    return result.sparsity_pct or result.near_zeros_pct


def _curve(results: Sequence[RunResult]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the strengths at which networks learn (of all, if none does), and the shares of zeros there."""
    learned = [one for one in results if one.outcome == "ok" and zeros(one) is not None]
    usable = learned or [one for one in results if zeros(one) is not None] or results
    ordered = sorted(usable, key=lambda one: one.spec["l1_asked"])
    # Noise must not make the curve fall.
    shares = np.maximum.accumulate([zeros(one) or 0.0 for one in ordered])
    return np.log([one.spec["l1_asked"] for one in ordered]), shares


def _low_pct(shares: np.ndarray) -> float:
    return max(LOW_PCT, min(float(shares[0]) + RISE_PCT, HIGH_PCT))


def _gap(shares: np.ndarray, at: float) -> int | None:
    """The first place that reaches `at`, if there is one before it."""
    above = np.flatnonzero(shares >= at)
    return int(above[0]) if above.size and above[0] > 0 else None


def _crossing(logs: np.ndarray, shares: np.ndarray, at: float) -> float:
    """Where the shares reach `at`, as a logarithm; the last place if they do not."""
    if shares[0] >= at:
        return float(logs[0])
    end = _gap(shares, at)
    if end is None:
        return float(logs[-1])
    part = (at - shares[end - 1]) / (shares[end] - shares[end - 1])
    return float(logs[end - 1] + part * (logs[end] - logs[end - 1]))


def _rounded(strength: float) -> float:
    return float(f"{strength:.3g}")


def told(results: Sequence[RunResult], low: float, high: float) -> str:
    """What the short runs found, in a line."""
    ordered = sorted(results, key=lambda one: one.spec["l1_asked"])
    found = ", ".join(f"{one.spec['l1_asked']:.2g}: {_said(one)}" for one in ordered)
    epochs = results[0].spec["epochs"]
    return (
        f"zeros after {epochs} epochs at l1 {found}; strengths are drawn from {low:.2g} to {high:.2g}, one in ten is 0"
    )


def _said(result: RunResult) -> str:
    share = f"{zeros(result) or 0.0:.0f} %"
    return share if result.outcome == "ok" else f"{share} ({result.outcome})"


def draw(config: ExperimentConfig, nets: int, low: float, high: float) -> ExperimentConfig:
    """One strength a network, with the seeds 0 to nets - 1: log-uniform, and 0 for one in ten.

    A network's strength does not depend on how many there are.
    """
    places = [np.random.default_rng([2011, seed]).random() for seed in range(nets)]
    drawn = [_rounded(math.exp(math.log(low) + one * math.log(high / low))) for one in places]
    strengths = tuple(0.0 if seed % ZERO_EVERY == 0 else one for seed, one in enumerate(drawn))
    train = config.train.model_copy(update={"l1": strengths, "l1_pairs": True})
    return config.model_copy(update={"seeds": tuple(range(nets)), "train": train})
