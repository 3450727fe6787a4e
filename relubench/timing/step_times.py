"""What a network costs, from the rounds of `steps`: the time of an example in training, in each stage and in inference,
memory, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from relubench.statistics import timings
from relubench.timing.compiled_steps import COMPILED
from relubench.timing.inference import BATCH, LONE
from relubench.timing.stages import STAGES
from relubench.timing.step_memory import StepMemory
from relubench.timing.steps import Network, StepBenchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """What a training step of one network costs: medians over the rounds."""

    us_per_image: float | None = None
    stages: Mapping[str, float]
    lone_inference_us: float | None = None
    """One example alone."""
    inference_us_per_image: float | None = None
    """In a batch as large as in training."""
    memory: StepMemory | None = None
    compile_s: float | None = None
    ratio: timings.Estimate | None = None
    """Its time over the base's; None for the base itself."""
    verdict: str | None = None
    failure: str = ""


Compiled = Mapping[str, StepTime]
"""The times of compiled networks, by the labels of the others."""


def step_times(race: StepBenchmark) -> dict[str, StepTime]:
    """The step time of each network, by label; faster or slower is said only of a ratio outside the A/A control's band.

    The time of a network is its ratio to the base, which is paired by round, times the base's median. So times, ratios
    and the Pareto front agree on an unsteady machine too, where the network's own median may come from better or worse
    moments than the base's.
    """
    return {network.label: _step_time(network, race) for network in race.networks if network.role == "network"}


def compiled_times(race: StepBenchmark) -> Compiled:
    """The step times of the compiled networks, by the labels of the others; their ratios are to the base as well."""
    compiled = [network for network in race.networks if network.role == "compiled"]
    return {network.label.removesuffix(COMPILED): _step_time(network, race) for network in compiled}


def _step_time(network: Network, race: StepBenchmark) -> StepTime:
    control = race.control
    band = timings.aa_band(control) if control is not None else (0.0, float("inf"))
    ratio = race.ratio(network.label) if network.label != race.base else None
    base_samples = race.of(race.base).samples
    own_median = float(median(network.samples)) if network.samples else None
    medians = {name: float(median(values)) for name, values in network.stages.items() if values}
    return StepTime(
        us_per_image=own_median if ratio is None else ratio.median * float(median(base_samples)),
        stages={name: medians[name] for name in STAGES if name in medians},
        lone_inference_us=medians.get(LONE),
        inference_us_per_image=medians.get(BATCH),
        memory=network.memory,
        compile_s=network.compile_s,
        ratio=ratio,
        verdict=None if ratio is None else timings.verdict(ratio, band),
        failure=network.failure,
    )


def step_records(race: StepBenchmark) -> list[dict[str, Any]]:
    """The raw samples of every network, those of the A/A control included."""
    return [
        {
            "contestant": network.label,
            "role": network.role,
            "samples_us_per_image": network.samples,
            "position_in_round": network.positions,
            **{f"{name}_samples_us_per_image": network.stages[name] for name in (*STAGES, LONE, BATCH)},
        }
        for network in race.networks
        if network.samples
    ]
