"""What a training step costs each network, from the rounds of `steps`: time an image, in each stage, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from relubench.statistics import timings
from relubench.timing.steps import STAGES, StepBenchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """What a training step of one network costs: medians over the rounds."""

    us_per_image: float | None = None
    stages: Mapping[str, float]
    ratio: timings.Estimate | None = None
    """Its time over the base's; None for the base itself."""
    verdict: str | None = None
    failure: str = ""


def step_times(race: StepBenchmark) -> dict[str, StepTime]:
    """The step time of each network, by label; faster or slower is said only of a ratio outside the A/A control's band.

    The time of a network is its ratio to the base, which is paired by round, times the base's median. So times, ratios
    and the Pareto front agree on an unsteady machine too, where the network's own median may come from better or worse
    moments than the base's.
    """
    control = race.control
    band = timings.aa_band(control) if control is not None else (0.0, float("inf"))
    times: dict[str, StepTime] = {}
    base_samples = race.of(race.base).samples
    for network in race.networks:
        if network.role != "network":
            continue
        ratio = race.ratio(network.label) if network.label != race.base else None
        own_median = float(median(network.samples)) if network.samples else None
        times[network.label] = StepTime(
            us_per_image=own_median if ratio is None else ratio.median * float(median(base_samples)),
            stages={name: float(median(values)) for name, values in network.stages.items() if values},
            ratio=ratio,
            verdict=None if ratio is None else timings.verdict(ratio, band),
            failure=network.failure,
        )
    return times


def step_records(race: StepBenchmark) -> list[dict[str, Any]]:
    """The raw samples of every network, those of the A/A control included."""
    return [
        {
            "contestant": network.label,
            "role": network.role,
            "samples_us_per_image": network.samples,
            "position_in_round": network.positions,
            **{f"{name}_samples_us_per_image": network.stages[name] for name in STAGES},
        }
        for network in race.networks
        if network.samples
    ]
