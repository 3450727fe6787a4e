"""How long a training step takes, network by network: chunks of real steps, interleaved in rounds, here and now.

In every round each network trains on one chunk of images (of a network that somebody else wrote, as many batches as
the budget has time for), and on a processor on a second one whose stages are timed by an optimizer that notes its own
seconds; the order is random. The update is fused with the product that makes the
weights' gradient, so that this product counts as update. The first round is left out. Beside the networks runs the
first of them once more under another name: the A/A test.

Shapes: B batch, K classes; x [B, ...], in a stack [1, B, ...].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from relubench.activations import Choice
from relubench.data import PreparedData
from relubench.errors import RelubenchError
from relubench.models.architecture import architecture_of
from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import stream
from relubench.runs.spec import RunSpec
from relubench.statistics import timings
from relubench.system.page_faults import prefault_constants
from relubench.timing.schedule import AGAIN
from relubench.training.images import Images
from relubench.training.population import Population

TURNS = 20
"""Rounds that a budget should have time for."""

STAGES = ("data", "forward", "backward", "update")


@dataclass(slots=True)
class Network:
    """One network in the race, with its samples in microseconds an image, one a round."""

    label: str
    role: str
    """network or twin."""
    population: Population | None
    samples: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    at: int = 0
    """The next training image."""
    batches: int | None = None
    """Batches of a turn; None: as many as the engine trains at once."""
    failure: str = ""


@dataclass(slots=True)
class StepRace:
    """A measurement in progress; see `run`."""

    networks: list[Network]
    base: str
    budget_s: float
    rel_ci: float
    seed: int = 0
    now: Callable[[], float] = time.perf_counter
    rounds: int = 0
    ended: str = ""
    """interval or budget: what ended it."""
    seconds: float = 0.0

    def run(self) -> Iterator[float]:
        """Measure; yields after every round the share of the budget that is used."""
        start = self.now()
        self._round(counts=False)
        while True:
            begun = self.now()
            self._round(counts=True)
            self.rounds += 1
            self.seconds = self.now() - start
            yield self.seconds / self.budget_s
            if self.rounds >= timings.LEAST_ROUNDS and self._narrow():
                self.ended = "interval"
                return
            if self.rounds >= timings.LEAST_ROUNDS and self.seconds + 0.5 * (self.now() - begun) >= self.budget_s:
                self.ended = "budget"
                return

    def ratio(self, label: str) -> timings.Estimate | None:
        """The time of a network over the base's, over the rounds that both have."""
        mine, base = self.of(label).samples, self.of(self.base).samples
        both = min(len(mine), len(base))
        return timings.ratio(mine[:both], base[:both]) if both else None

    def of(self, label: str) -> Network:
        return next(one for one in self.networks if one.label == label)

    @property
    def twin(self) -> timings.Estimate | None:
        """The base against itself."""
        return self.ratio(self.base + AGAIN)

    def _narrow(self) -> bool:
        found = [self.ratio(one.label) for one in self.networks if one.label != self.base and not one.failure]
        return all(one is not None and one.relative_width <= self.rel_ci for one in found)

    def _round(self, counts: bool) -> None:
        generator = stream(self.seed, "step-order", self.rounds if counts else -1)
        running = [one for one in self.networks if one.population is not None]
        for position, place in enumerate(torch.randperm(len(running), generator=generator).tolist()):
            one = running[place]
            try:
                assert one.population is not None
                sample, stages = whole(one.population, one), parts(one.population, one)
            except Exception as problem:
                one.failure, one.population = _reason(problem), None
                continue
            if counts:
                one.samples.append(sample)
                one.positions.append(position)
                for name, value in stages.items():
                    one.stages[name].append(value)


def line_up(
    specs: Sequence[RunSpec],
    choices: Sequence[Choice],
    prepared: PreparedData,
    budget_s: float,
    rel_ci: float,
) -> StepRace:
    """The race of one network for each activation (its first run's specification); a failure is kept as such.

    The first activation is the base of every ratio.
    """
    by_label = {choice.label: choice for choice in choices}
    first: dict[str, RunSpec] = {}
    for spec in specs:
        # A step costs the same whatever the weights were before.
        first.setdefault(spec.activation, replace(spec, pretraining="none", stack=None))
    base = specs[0].activation
    if specs[0].threads:
        torch.set_num_threads(specs[0].threads)
    torch.set_flush_denormal(True)
    prefault_constants()
    images = Images.open(prepared, device=specs[0].device, flat=not architecture_of(specs[0]).takes_images)
    entries = [(label, "network", spec) for label, spec in first.items()]
    entries.append((base + AGAIN, "twin", first[base]))
    networks = []
    for label, role, spec in entries:
        try:
            networks.append(Network(label, role, Population([spec], by_label[spec.activation], images)))
        except Exception as problem:
            networks.append(Network(label, role, None, failure=_reason(problem)))
    if architecture_of(specs[0]).foreign:
        _size(networks, budget_s)
    return StepRace(networks, base, budget_s, rel_ci)


def _size(networks: Sequence[Network], budget_s: float) -> None:
    """Give each as many batches a turn as `TURNS` rounds of the slowest have time for."""
    slowest = 0.0
    for one in networks:
        one.batches = 1
        if one.population is None:
            continue
        try:
            # The first step takes storage and chooses kernels.
            us = [whole(one.population, one) for _ in range(2)][-1]
        except Exception as problem:
            one.failure, one.population = _reason(problem), None
            continue
        slowest = max(slowest, us * one.population.spec.batch_size / 1e6)
    if slowest:
        batches = max(1, int(budget_s / (2 * TURNS * len(networks)) / slowest))
        for one in networks:
            one.batches = min(batches, one.population.batch_chunk) if one.population is not None else None


@torch.no_grad()
def whole(population: Population, place: Network) -> float:
    """Microseconds an image of the engine's own steps on the next chunk of training images, gathering included."""
    start = time.perf_counter()
    with population.working():
        x, y, batches = _chunk(population, place)
        factors = [1.0] * batches
        if population.graph is not None:
            population.graph.run(x, y, factors)
        else:
            population.train_steps(x, y, factors)
    _synchronize(population.spec.device)
    return 1e6 * (time.perf_counter() - start) / (batches * population.spec.batch_size)


@torch.no_grad()
def parts(population: Population, place: Network) -> dict[str, float]:
    """Microseconds an image in each stage, from instrumented steps; {} on a device whose calls do not wait.

    Kernels update the weights within the backward pass: there is no such stage then.
    """
    spec = population.spec
    if spec.device != "cpu":
        return {}
    noted = Noted(population.update) if population.kernels is None else None
    seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    with population.working():
        start = time.perf_counter()
        x_all, y_all, batches = _chunk(population, place)
        seconds["data"] = time.perf_counter() - start
        for x, y in zip(x_all.split(spec.batch_size), y_all.split(spec.batch_size), strict=True):
            _instrumented(population, cast(Optimizer, noted or population.update), x, y, seconds)
    if noted is None:
        del seconds["update"]
    else:
        seconds["update"] = noted.seconds
        seconds["backward"] -= noted.seconds
    return {name: 1e6 * value / (batches * spec.batch_size) for name, value in seconds.items()}


class Noted:
    """An optimizer, and the seconds spent in it."""

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


def _instrumented(population: Population, update: Optimizer, x: Tensor, y: Tensor, seconds: dict[str, float]) -> None:
    """One training step of a lone network, its stages' seconds added up."""
    update.set_factor(1.0)
    start = time.perf_counter()
    for layer in population.layers:
        x = layer.forward(x, training=True)
    forwarded = time.perf_counter()
    grad = torch.log_softmax(x, dim=-1).exp_().sub_(y).mul_(1.0 / len(y))
    for place in range(len(population.layers) - 1, -1, -1):
        grad = population.layers[place].backward(grad, update, first=place == 0)
    update.finish()
    seconds["forward"] += forwarded - start
    seconds["backward"] += time.perf_counter() - forwarded


def _chunk(population: Population, place: Network) -> tuple[Tensor, Tensor, int]:
    """The next images and targets, and how many whole batches they are."""
    spec, total = population.spec, population.data.n_train
    batches = place.batches or population.batch_chunk
    index = torch.arange(place.at, place.at + batches * spec.batch_size) % total
    place.at = (place.at + batches * spec.batch_size) % total
    index = index.to(spec.device)
    x, labels = population.data.train_batch(index.unsqueeze(0) if population.stacked else index)
    y: Any = torch.nn.functional.one_hot(labels, spec.classes).to(torch.float32)
    return x, y, batches


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _reason(problem: Exception) -> str:
    return problem.message if isinstance(problem, RelubenchError) else f"{type(problem).__name__}: {problem}"
