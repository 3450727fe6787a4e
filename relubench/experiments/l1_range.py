"""L1 strengths for many networks: the range in which they matter, by short runs, and draws from it. Torch-free.

search = RangeSearch(config, note)
for study in search.studies(...): carry the study out
search.sampled(nets) -> the configuration of the networks to train
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.errors import ComputeError, UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.plan import l1_of_sum, tuning_seeds
from relubench.models.families import family_of, parse_model
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec

if TYPE_CHECKING:
    from relubench.experiments.study import Study

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
ARTICLE_STRENGTHS = (0.0, 0.001, 0.01, 0.1, 1.0)
"""The article's strengths, which `ablate-sparsity` compares unless others are given."""
ABLATION_DEFAULTS: dict[str, Any] = {"act": ("relu",), "train": {"l1": ARTICLE_STRENGTHS, "l1_scale": "mean"}}
"""What `ablate-sparsity` trains unless something else is asked for."""


@dataclass(slots=True)
class RangeSearch:
    """The search for the strengths between which zeros go from few to nearly all; `results` are its short runs."""

    config: ExperimentConfig
    note: Callable[[str], None]
    results: list[RunResult] = field(default_factory=list)

    def studies(
        self, *, data_dir: Path | None = None, runs_dir: Path | None = None, fresh: bool = False
    ) -> Iterator[Study]:
        """The short runs, round by round: whoever iterates carries each study out before asking for the next.

        Raises ComputeError where no short run could be computed, or none has learned anything.
        """
        from relubench.experiments.study import Study

        def opened(config: ExperimentConfig) -> Study:
            return Study.open(config, data_dir=data_dir, runs_dir=runs_dir, fresh=fresh, note=self.note)

        strengths = first_strengths(opened(self.config.one_strength()).specs[0])
        for _ in range(1 + LATER_ROUNDS):
            if not strengths:
                break
            study = opened(pilot(self.config, strengths))
            yield study
            self.results += [result for result in study.results if result.outcome != "failed"]
            if not self.results:
                rule = "none of the short runs that find the range could be computed"
                raise ComputeError(rule, "see the warnings above")
            strengths = next_strengths(self.results)
        if not any(result.outcome == "ok" for result in self.results):
            hint = "give more --epochs or another --lr, or your own strengths with --l1"
            rule = f"none of the {len(self.results)} short runs that find the range learned anything"
            raise ComputeError(rule, hint)

    def sampled(self, nets: int) -> ExperimentConfig:
        """The configuration of `nets` networks whose strengths span the range; the range is noted."""
        low, high = span(self.results)
        self.note(describe(self.results, low, high))
        return draw(self.config, nets, low, high)


def first_strengths(spec: RunSpec) -> tuple[float, ...]:
    """The strengths of the first short runs of a network like `spec`."""
    unit = l1_of_sum(1.0, spec)
    return tuple(_rounded(float(coefficient) / unit) for coefficient in np.geomspace(*FIRST_SUMS, FIRST_PILOTS))


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
    collapsed = sorted(
        strength for strength in np.log([result.spec["l1_asked"] for result in results]) if strength > logs[-1]
    )
    logs, shares = np.append(logs, collapsed), np.append(shares, [100.0] * len(collapsed))
    gaps = [_gap(shares, goal) for goal in (_low_pct(shares), HIGH_PCT)]
    shares_of_gap = (1 / 3, 2 / 3) if gaps[0] == gaps[1] else (0.5, 0.5)
    return tuple(
        _rounded(math.exp(logs[gap - 1] + share * (logs[gap] - logs[gap - 1])))
        for gap, share in zip(gaps, shares_of_gap, strict=True)
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


def check_layers(config: ExperimentConfig) -> None:
    """Raises UsageError for a network whose hidden layers are not known: there is nothing to make sparse in it."""
    if config.model.name != "auto" and not family_of(parse_model(config.model.name).name).can("l1"):
        raise UsageError(
            f"ablate-sparsity penalises the hidden layers of relubench's own networks, not of {config.model.name}",
            "use an mlp or the cnn, for example --model mlp-2x64",
        )


def zeros(result: RunResult) -> float | None:
    """The sparsity that a penalty is judged by: exact zeros, near zeros where there are none."""
    return result.sparsity_pct or result.near_zeros_pct


def _curve(results: Sequence[RunResult]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the strengths at which networks learn (of all, if none does), and the shares of zeros there."""
    learned = [result for result in results if result.outcome == "ok" and zeros(result) is not None]
    usable = learned or [result for result in results if zeros(result) is not None] or results
    ordered = sorted(usable, key=lambda result: result.spec["l1_asked"])
    # Noise must not make the curve fall.
    shares = np.maximum.accumulate([zeros(result) or 0.0 for result in ordered])
    return np.log([result.spec["l1_asked"] for result in ordered]), shares


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


def describe(results: Sequence[RunResult], low: float, high: float) -> str:
    """What the short runs found, in a line."""
    ordered = sorted(results, key=lambda result: result.spec["l1_asked"])
    shares = ", ".join(f"{result.spec['l1_asked']:.2g}: {_share_text(result)}" for result in ordered)
    epochs = results[0].spec["epochs"]
    return (
        f"zeros after {epochs} epochs at l1 {shares}; strengths are drawn from {low:.2g} to {high:.2g}, one in ten is 0"
    )


def _share_text(result: RunResult) -> str:
    share = f"{zeros(result) or 0.0:.0f} %"
    return share if result.outcome == "ok" else f"{share} ({result.outcome})"


def draw(config: ExperimentConfig, nets: int, low: float, high: float) -> ExperimentConfig:
    """One strength a network, with the seeds 0 to nets - 1: log-uniform, and 0 for one in ten.

    A network's strength does not depend on how many there are.
    """
    positions = [np.random.default_rng([2011, seed]).random() for seed in range(nets)]
    sampled = [_rounded(math.exp(math.log(low) + position * math.log(high / low))) for position in positions]
    strengths = tuple(0.0 if seed % ZERO_EVERY == 0 else position for seed, position in enumerate(sampled))
    train = config.train.model_copy(update={"l1": strengths, "l1_pairs": True})
    return config.model_copy(update={"seeds": tuple(range(nets)), "train": train})
