"""How long a training step takes, network by network: chunks of real steps, interleaved in rounds.

In every round each network trains on one chunk of images (an external model on as many batches as the budget has time
for), and on a processor on a second chunk whose stages are timed, the update by `TimedOptimizer`; the order is random.
The update is fused with the product that gives the weights' gradient, so that this product counts as update. The first
round is left out. The first network runs once more under another name: the A/A control.

Shapes: B batch, K classes; x [B, ...], with members [1, B, ...].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import RelubenchError
from relubench.models.families import family_of
from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import stream
from relubench.runs.spec import RunSpec
from relubench.statistics import timings
from relubench.system.device_kinds import synchronizer
from relubench.system.page_faults import prefault_constants
from relubench.timing.schedule import AGAIN
from relubench.training.population import Population
from relubench.training.text import open_data

TURNS = 20
"""The number of rounds that a budget should have time for."""

STAGES = ("data", "forward", "backward", "update")


@dataclass(slots=True)
class Network:
    """One timed network, with its samples in microseconds an image, one for each round."""

    label: str
    role: str
    """network, or twin (the A/A control)."""
    population: Population | None
    samples: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    next_image: int = 0
    """The index of the next training image."""
    batches: int | None = None
    """The batches of a turn; None: as many as training takes at once."""
    failure: str = ""


@dataclass(slots=True)
class StepBenchmark:
    """A measurement in progress; see `run`."""

    networks: list[Network]
    base: str
    budget_s: float
    rel_ci: float
    seed: int = 0
    now: Callable[[], float] = time.perf_counter
    rounds: int = 0
    ended: str = ""
    """What ended it: interval or budget."""
    seconds: float = 0.0

    def run(self) -> Iterator[float]:
        """Measure; yields after every round the share of the budget that is used."""
        start = self.now()
        self._round(is_counted=False)
        while True:
            round_start = self.now()
            self._round(is_counted=True)
            self.rounds += 1
            self.seconds = self.now() - start
            yield self.seconds / self.budget_s
            if self.rounds >= timings.LEAST_ROUNDS and self._is_narrow():
                self.ended = "interval"
                return
            if self.rounds >= timings.LEAST_ROUNDS and self.seconds + 0.5 * (self.now() - round_start) >= self.budget_s:
                self.ended = "budget"
                return

    def ratio(self, label: str) -> timings.Estimate | None:
        """The time of a network over the base's, over the rounds in which both were sampled."""
        samples, base_samples = self.of(label).samples, self.of(self.base).samples
        num_rounds = min(len(samples), len(base_samples))
        return timings.ratio(samples[:num_rounds], base_samples[:num_rounds]) if num_rounds else None

    def of(self, label: str) -> Network:
        return next(network for network in self.networks if network.label == label)

    @property
    def control(self) -> timings.Estimate | None:
        """The A/A control: the base's ratio to itself."""
        return self.ratio(self.base + AGAIN)

    def _is_narrow(self) -> bool:
        ratios = [
            self.ratio(network.label) for network in self.networks if network.label != self.base and not network.failure
        ]
        return all(network is not None and network.relative_width <= self.rel_ci for network in ratios)

    def _round(self, is_counted: bool) -> None:
        generator = stream(self.seed, "step-order", self.rounds if is_counted else -1)
        running = [network for network in self.networks if network.population is not None]
        for position, index in enumerate(torch.randperm(len(running), generator=generator).tolist()):
            network = running[index]
            try:
                assert network.population is not None
                sample, stages = time_steps(network.population, network), time_stages(network.population, network)
            except Exception as problem:
                network.failure, network.population = _failure_reason(problem), None
                continue
            if is_counted:
                network.samples.append(sample)
                network.positions.append(position)
                for name, value in stages.items():
                    network.stages[name].append(value)


def prepare_step_benchmark(
    specs: Sequence[RunSpec],
    choices: Sequence[ActivationChoice],
    prepared: PreparedData,
    budget_s: float,
    rel_ci: float,
) -> StepBenchmark:
    """The benchmark of one network for each activation (its first run's specification); a failure becomes a message.

    The first activation is the base of every ratio.
    """
    by_label = {choice.label: choice for choice in choices}
    first: dict[str, RunSpec] = {}
    for spec in specs:
        # The time of a step does not depend on the weights before it.
        first.setdefault(spec.activation, replace(spec, pretraining="none", stack=None))
    base = specs[0].activation
    if specs[0].threads:
        torch.set_num_threads(specs[0].threads)
    torch.set_flush_denormal(True)
    prefault_constants()
    images = open_data(prepared, device=specs[0].device, flat=not family_of(specs[0].model).can("images"))
    entries = [(label, "network", spec) for label, spec in first.items()]
    entries.append((base + AGAIN, "twin", first[base]))
    networks = []
    for label, role, spec in entries:
        try:
            networks.append(Network(label, role, Population([spec], by_label[spec.activation], images)))
        except Exception as problem:
            networks.append(Network(label, role, None, failure=_failure_reason(problem)))
    if family_of(specs[0].model).can("external"):
        _choose_batches(networks, budget_s)
    return StepBenchmark(networks, base, budget_s, rel_ci)


def _choose_batches(networks: Sequence[Network], budget_s: float) -> None:
    """Give each network as many batches a turn as `TURNS` rounds of the slowest one have time for."""
    slowest = 0.0
    for network in networks:
        network.batches = 1
        if network.population is None:
            continue
        try:
            # The first step allocates memory and chooses kernels.
            microseconds = [time_steps(network.population, network) for _ in range(2)][-1]
        except Exception as problem:
            network.failure, network.population = _failure_reason(problem), None
            continue
        slowest = max(slowest, microseconds * network.population.spec.batch_size / 1e6)
    if slowest:
        batches = max(1, int(budget_s / (2 * TURNS * len(networks)) / slowest))
        for network in networks:
            network.batches = min(batches, network.population.batch_chunk) if network.population is not None else None


@torch.no_grad()
def time_steps(population: Population, network: Network) -> float:
    """The microseconds an image of real training steps on the next chunk of images, gathering included."""
    start = time.perf_counter()
    with population.working():
        x, y, batches = _chunk(population, network)
        factors = [1.0] * batches
        if population.graph is not None:
            population.graph.run(x, y, factors)
        else:
            population.train_steps(x, y, factors)
    _synchronize(population.spec.device)
    return 1e6 * (time.perf_counter() - start) / (batches * population.spec.batch_size)


@torch.no_grad()
def time_stages(population: Population, network: Network) -> dict[str, float]:
    """The microseconds an image in each stage, from instrumented steps; {} on a device whose calls do not wait.

    Kernels update the weights within the backward pass: then there is no stage `update`.
    """
    spec = population.spec
    if not spec.on_processor:
        return {}
    timed_optimizer = TimedOptimizer(population.update) if population.kernels is None else None
    seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    with population.working():
        start = time.perf_counter()
        x_all, y_all, batches = _chunk(population, network)
        seconds["data"] = time.perf_counter() - start
        for x, y in zip(x_all.split(spec.batch_size), y_all.split(spec.batch_size), strict=True):
            _add_stage_seconds(population, cast(Optimizer, timed_optimizer or population.update), x, y, seconds)
    if timed_optimizer is None:
        del seconds["update"]
    else:
        seconds["update"] = timed_optimizer.seconds
        seconds["backward"] -= timed_optimizer.seconds
    return {name: 1e6 * value / (batches * spec.batch_size) for name, value in seconds.items()}


class TimedOptimizer:
    """An optimizer that counts the seconds spent in it."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.seconds = inner, 0.0

    def set_factor(self, factor: float | Tensor) -> None:
        self.inner.set_factor(factor)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        start = time.perf_counter()
        self.inner.product(parameter, delta, x)
        self.seconds += time.perf_counter() - start

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        start = time.perf_counter()
        self.inner.gradient(parameter, grad)
        self.seconds += time.perf_counter() - start

    def finish(self) -> None:
        start = time.perf_counter()
        self.inner.finish()
        self.seconds += time.perf_counter() - start


def _add_stage_seconds(
    population: Population, update: Optimizer, x: Tensor, y: Tensor, seconds: dict[str, float]
) -> None:
    """Make one training step of a single network, and add the seconds of its stages."""
    update.set_factor(1.0)
    start = time.perf_counter()
    for layer in population.layers:
        x = layer.forward(x, training=True)
    forwarded = time.perf_counter()
    grad, _ = population.objective.gradient(x, y)
    for index in range(len(population.layers) - 1, -1, -1):
        grad = population.layers[index].backward(grad, update, first=index == 0)
    update.finish()
    seconds["forward"] += forwarded - start
    seconds["backward"] += time.perf_counter() - forwarded


def _chunk(population: Population, network: Network) -> tuple[Tensor, Tensor, int]:
    """The next images and targets, and the number of batches that they are."""
    spec, total = population.spec, population.data.n_train
    batches = network.batches or population.batch_chunk
    index = torch.arange(network.next_image, network.next_image + batches * spec.batch_size) % total
    network.next_image = (network.next_image + batches * spec.batch_size) % total
    index = index.to(spec.device)
    x, labels = population.data.train_batch(index.unsqueeze(0) if population.batched else index)
    return x, population.objective.targets(labels, spec.classes), batches


def _synchronize(device: str) -> None:
    if (wait := synchronizer(device)) is not None:
        wait()


def _failure_reason(problem: Exception) -> str:
    return problem.message if isinstance(problem, RelubenchError) else f"{type(problem).__name__}: {problem}"
