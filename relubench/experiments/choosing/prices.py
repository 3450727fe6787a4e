"""What each activation costs in this network on this device, and whether its arithmetic is sound."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from relubench.errors import RelubenchError

if TYPE_CHECKING:
    from relubench.activations import ActivationChoice
    from relubench.experiments.choosing.trainings import Trainings
    from relubench.runs.spec import RunSpec
    from relubench.timing.steps import Network

REL_CI = 0.02
"""The width of a ratio's interval at which its timing ends early."""

INFERENCE_ROUNDS = 15
"""Times that a batch is predicted; the median counts."""

CHECKED_POINTS = 100_000
"""Points in fp32; `verify` takes a million."""

DTYPE_OF = {"fp32": "fp32", "tf32": "fp32", "bf16": "bf16"}
"""`train.precision` -> the type in which an activation's arithmetic is checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a network with one activation costs; None where it could not be measured."""

    training_us_per_example: float | None = None
    training_ratio: float | None = None
    """Its training time over that of the first activation, of the same rounds."""
    training_ratio_low: float | None = None
    training_ratio_high: float | None = None
    inference_us_per_example: float | None = None
    """In evaluation mode, in batches as large as in training."""
    memory_bytes: int | None = None
    """That one network takes while it trains, as predicted from its shape."""
    message: str = ""
    """Why something could not be measured."""


def prices(trainings: Trainings, rates: Mapping[str, float], budget_s: float) -> dict[str, Price]:
    """The price of each activation, measured in turns by the schedule of `speed --network`."""
    from relubench.activations import select
    from relubench.experiments.timings import time_rounds, unwatched
    from relubench.timing.step_times import step_times
    from relubench.timing.steps import prepare_step_benchmark

    study = trainings.prepared_study
    choices = {label: select([label])[0] for label in rates}
    specs = {label: spec for label in rates if (spec := _spec_of(trainings, label, rates[label])) is not None}
    if not specs:
        return {}
    timed = time_rounds(
        lambda: prepare_step_benchmark(
            list(specs.values()), list(choices.values()), study.parts[0].prepared, budget_s, REL_CI
        ),
        study.device.name,
        unwatched,
        study.note,
    )
    networks = {network.label: network for network in timed.measurement.networks if network.role == "network"}
    measured = {}
    for label, step_time in step_times(timed.measurement).items():
        price = Price(
            training_us_per_example=step_time.us_per_image,
            training_ratio=step_time.ratio and step_time.ratio.median,
            training_ratio_low=step_time.ratio and step_time.ratio.low,
            training_ratio_high=step_time.ratio and step_time.ratio.high,
            memory_bytes=_memory(specs[label], choices[label]),
            message=step_time.failure,
        )
        measured[label] = (
            price if step_time.failure else replace(price, inference_us_per_example=_inference(networks[label]))
        )
    return measured


def soundness(labels: Sequence[str], precision: str) -> dict[str, str]:
    """Whether values and slopes are right in the precision of the trainings: 'sound', or what `verify` finds wrong."""
    from relubench.activations import select
    from relubench.verification.check import check

    words: dict[str, str] = {}
    for label in labels:
        try:
            rows = check(select([label])[0], DTYPE_OF[precision], num_points=CHECKED_POINTS)
        except RelubenchError as error:
            words[label] = f"not checked: {error.message}"
            continue
        except Exception as problem:
            words[label] = f"not checked: {type(problem).__name__}: {problem}"
            continue
        faults = [f"{row.pass_} {row.outcome}" for row in rows if row.outcome in ("wrong", "failed")]
        words[label] = ", ".join(faults) or "sound"
    return words


def _spec_of(trainings: Trainings, label: str, rate: float) -> RunSpec | None:
    """The specification of any run of the activation at its rate."""
    return next((spec for (name, lr, _), spec in trainings.specs.items() if (name, lr) == (label, rate)), None)


def _memory(spec: RunSpec, choice: ActivationChoice) -> int:
    from relubench.training.memory import member_bytes

    return member_bytes(spec, choice.inputs_per_unit)


def _inference(network: Network) -> float | None:
    """The microseconds an example of predicting a batch, the median over rounds; None where it fails."""
    import torch

    population = network.population
    if population is None:
        return None
    seconds: list[float] = []
    try:
        with torch.no_grad(), population.working():
            size = population.spec.batch_size
            index = torch.arange(size, device=population.spec.device) % population.data.n_train
            inputs, _ = population.data.train_batch(index.unsqueeze(0) if population.batched else index)
            for _ in range(INFERENCE_ROUNDS):
                start, x = time.perf_counter(), inputs
                for layer in population.layers:
                    x = layer.forward(x, training=False)
                x.flatten()[0].item()
                seconds.append(time.perf_counter() - start)
    except Exception:
        return None
    return 1e6 * median(seconds) / size
