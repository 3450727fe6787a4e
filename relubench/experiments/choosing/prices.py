"""What each activation costs in this network on this device, and whether its arithmetic is sound."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relubench.errors import RelubenchError

if TYPE_CHECKING:
    from relubench.activations import ActivationChoice
    from relubench.experiments.choosing.trainings import Trainings
    from relubench.timing.step_times import StepTime

REL_CI = 0.02
"""The width of a ratio's interval at which its timing ends early."""

CHECKED_POINTS = 100_000
"""Points in fp32; `verify` takes a million."""

DTYPE_OF = {"fp32": "fp32", "tf32": "fp32", "bf16": "bf16"}
"""`train.precision` -> the type in which an activation's arithmetic is checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a network with one activation costs, as `speed --network` measures it; None where it could not be."""

    training_us_per_example: float | None = None
    training_ratio: float | None = None
    """Its training time over that of the first activation, of the same rounds."""
    training_ratio_ci_low: float | None = None
    training_ratio_ci_high: float | None = None
    inference_us: float | None = None
    """One example alone."""
    inference_us_per_example: float | None = None
    """In a batch as large as in training."""
    memory_bytes: int | None = None
    """The most that the network and a training step of it take, the data left out."""
    not_timed: str = ""
    """Why nothing could be measured."""


def prices(trainings: Trainings, rates: Mapping[str, float], budget_s: float) -> dict[str, Price]:
    """The price of each activation, measured in turns by `speed --network`."""
    from relubench.experiments.network_speed import time_runs
    from relubench.experiments.timings import unwatched
    from relubench.timing.request import Request
    from relubench.timing.step_times import step_times

    study, first_runs = trainings.prepared_study, trainings.first_specs(rates)
    if not first_runs:
        return {}
    choices = [trainings.choices[spec.activation] for spec in first_runs]
    request = Request(sizes=(), budget_s=budget_s, rel_ci=REL_CI)
    prepared = study.parts[0].prepared
    timed = time_runs(first_runs, choices, prepared, study.device.name, request, unwatched, study.note)
    return {label: _price(step_time) for label, step_time in step_times(timed.measurement).items()}


def _price(step_time: StepTime) -> Price:
    ratio = step_time.ratio
    return Price(
        training_us_per_example=step_time.us_per_image,
        training_ratio=ratio and ratio.median,
        training_ratio_ci_low=ratio and ratio.low,
        training_ratio_ci_high=ratio and ratio.high,
        inference_us=step_time.lone_inference_us,
        inference_us_per_example=step_time.inference_us_per_image,
        memory_bytes=step_time.memory and step_time.memory.peak,
        not_timed=step_time.failure,
    )


def soundness(choices: Mapping[str, ActivationChoice], precision: str, budget_s: float = math.inf) -> dict[str, str]:
    """Whether values and slopes are right in the precision of the trainings: 'sound', or what `verify` finds wrong.

    What is not begun within the budget is left out; the first one is always checked.
    """
    from relubench.verification.check import check

    words: dict[str, str] = {}
    start = time.monotonic()
    for label, choice in choices.items():
        if words and time.monotonic() - start > budget_s:
            break
        try:
            rows = check(choice, DTYPE_OF[precision], num_points=CHECKED_POINTS)
        except RelubenchError as error:
            words[label] = f"not checked: {error.message}"
            continue
        except Exception as problem:
            words[label] = f"not checked: {type(problem).__name__}: {problem}"
            continue
        faults = [f"{row.pass_} {row.outcome}" for row in rows if row.outcome in ("wrong", "overflows", "failed")]
        words[label] = ", ".join(faults) or "sound"
    return words
