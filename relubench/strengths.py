"""L1 strengths for many networks: the range in which they matter, by short runs, and draws from it. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relubench.config import ExperimentConfig
from relubench.plan import RunSpec, l1_of_sum, tuning_seeds
from relubench.results import RunResult

PILOTS = 8
PILOT_SUMS = (1e-7, 1e-2)
"""Strengths of the short runs, as coefficients of the sum; between them zeros go from none the more to all."""
PILOT_SHARE, LEAST_EPOCHS = 0.1, 3
"""A short run has this share of the epochs asked for, but so many if there are."""
LOW_PCT, HIGH_PCT = 70.0, 99.0
ZERO_EVERY = 10
"""One network in so many has no penalty."""


def pilot(config: ExperimentConfig, specs: Sequence[RunSpec]) -> ExperimentConfig:
    """Eight short runs of the first activation, whose strengths are a logarithmic grid; on a seed not reported."""
    unit = l1_of_sum(1.0, specs[0])
    strengths = tuple(float(f"{one / unit:.3g}") for one in np.geomspace(*PILOT_SUMS, PILOTS))
    epochs = min(config.train.epochs, max(LEAST_EPOCHS, math.ceil(PILOT_SHARE * config.train.epochs)))
    change = {"l1": strengths, "epochs": epochs, "warmup_epochs": min(config.train.warmup_epochs, epochs / 2)}
    train = config.train.model_copy(update=change)
    return config.model_copy(
        update={"act": config.act[:1], "seeds": tuning_seeds(config)[:1], "train": train, "keep": "none"}
    )


def span(results: Sequence[RunResult]) -> tuple[float, float]:
    """The strengths at which zeros reach 70 and 99 %, between the short runs on a logarithmic scale.

    Where they never are so few or so many, the end of the grid, as far as networks learn at all. Near zeros count
    where there are no exact ones.
    """
    learned = [one for one in results if one.outcome == "ok" and zeros(one) is not None]
    usable = learned or [one for one in results if zeros(one) is not None]
    ordered = sorted(usable, key=lambda one: one.spec["l1_asked"])
    strengths = [one.spec["l1_asked"] for one in ordered]
    # Noise must not make the curve fall.
    shares = np.maximum.accumulate([zeros(one) or 0.0 for one in ordered])
    low, high = (_crossing(np.log(strengths), shares, at) for at in (LOW_PCT, HIGH_PCT))
    return (low, high) if low < high else (strengths[0], strengths[-1])


def zeros(result: RunResult) -> float | None:
    """The sparsity that a penalty is judged by: exact zeros, near zeros where there are none."""
    return result.sparsity_pct or result.near_zeros_pct


def _crossing(logs: np.ndarray, shares: np.ndarray, at: float) -> float:
    if shares[0] >= at:
        return float(np.exp(logs[0]))
    above = np.flatnonzero(shares >= at)
    if not above.size:
        return float(np.exp(logs[-1]))
    end = above[0]
    part = (at - shares[end - 1]) / (shares[end] - shares[end - 1])
    return float(np.exp(logs[end - 1] + part * (logs[end] - logs[end - 1])))


def told(results: Sequence[RunResult], low: float, high: float) -> str:
    """What the short runs found, in a line."""
    found = ", ".join(f"{one.spec['l1_asked']:.2g}: {zeros(one) or 0.0:.0f} %" for one in results)
    epochs = results[0].spec["epochs"]
    return (
        f"zeros after {epochs} epochs at l1 {found}; strengths are drawn from {low:.2g} to {high:.2g}, one in ten is 0"
    )


def draw(config: ExperimentConfig, nets: int, low: float, high: float) -> ExperimentConfig:
    """One strength a network, with the seeds 0 to nets - 1: log-uniform, and 0 for one in ten.

    A network's strength does not depend on how many there are.
    """
    places = [np.random.default_rng([2011, seed]).random() for seed in range(nets)]
    drawn = [float(f"{math.exp(math.log(low) + one * math.log(high / low)):.3g}") for one in places]
    strengths = tuple(0.0 if seed % ZERO_EVERY == 0 else one for seed, one in enumerate(drawn))
    train = config.train.model_copy(update={"l1": strengths, "l1_pairs": True})
    return config.model_copy(update={"seeds": tuple(range(nets)), "train": train})
