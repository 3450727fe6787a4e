"""How long a training step takes, network by network: chunks of real steps, interleaved in rounds.

In every round each network trains on one chunk of examples (an external model on as many batches as the budget has time
for), then on a second chunk whose stages are timed (`stages`), and is given a batch without learning from it
(`inference`); the order is random. The first round is left out. The first network runs once more under another name:
the A/A control. With torch.compile each network runs once more in its compiled form, whose steps have no stages.

Shapes: B batch, K classes; x [B, ...], with members [1, B, ...].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import RelubenchError
from relubench.models.backend import uses_kernels
from relubench.models.families import family_of
from relubench.models.random_streams import stream
from relubench.runs.spec import RunSpec
from relubench.statistics import timings
from relubench.system.device_kinds import synchronizer
from relubench.system.page_faults import prefault_constants
from relubench.timing.compiled_steps import COMPILED, compile_steps
from relubench.timing.inference import BATCH, LONE, Forward, forward_of, time_inference
from relubench.timing.schedule import AGAIN
from relubench.timing.stages import STAGES, time_stages
from relubench.timing.step_memory import StepMemory, measure_memory
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.text import open_data

TURNS = 20
"""The number of rounds that a budget should have time for."""

TURN_STEPS = 3
"""A turn takes so many times the time of its training steps: steps, their stages, and inference."""


@dataclass(slots=True)
class Network:
    """One timed network, with its samples in microseconds an image, one for each round."""

    label: str
    role: str
    """network, compiled, or twin (the A/A control)."""
    population: Population | None
    samples: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*STAGES, LONE, BATCH)})
    next_image: int = 0
    """The index of the next training image."""
    batches: int | None = None
    """The batches of a turn; None: as many as training takes at once."""
    failure: str = ""
    forward: Forward | None = None
    """What gives its outputs in evaluation mode."""
    memory: StepMemory | None = None
    compile_s: float | None = None

    def fail(self, problem: Exception) -> None:
        """It is timed no more, and says why."""
        self.failure, self.population, self.forward = _failure_reason(problem), None, None


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
                sample, stages = time_steps(network.population, network), time_parts(network.population, network)
            except Exception as problem:
                network.fail(problem)
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
    *,
    compiled: bool = False,
) -> StepBenchmark:
    """The benchmark of one network for each activation (its first run's specification); a failure becomes a message.

    The first activation is the base of every ratio. `compiled`: each runs in the form that torch.compile makes, too.
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
    if compiled:
        # By PyTorch's operators: its compiler sees nothing of generated kernels.
        plain = {name: replace(spec, backend="torch") if uses_kernels(spec) else spec for name, spec in first.items()}
        entries += [(label + COMPILED, "compiled", spec) for label, spec in plain.items()]
    networks = [
        _ready(Network(label, role, None), spec, by_label[spec.activation], images) for label, role, spec in entries
    ]
    if family_of(specs[0].model).can("external"):
        _choose_batches(networks, budget_s)
    return StepBenchmark(networks, base, budget_s, rel_ci)


def _ready(network: Network, spec: RunSpec, choice: ActivationChoice, images: Images) -> Network:
    """The network built, compiled if that is its role, and its memory measured."""

    def make() -> Population:
        return Population([spec], choice, images)

    try:
        if network.role == "network":
            network.memory = measure_memory(make, lambda population: batches_of(population, 0, 1))
        population = make()
        network.forward = forward_of(population)
        if network.role == "compiled":
            network.forward, network.compile_s = compile_steps(population, make(), *batches_of(population, 0, 1))
        network.population = population
    except Exception as problem:
        network.fail(problem)
    return network


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
            network.fail(problem)
            continue
        slowest = max(slowest, microseconds * network.population.spec.batch_size / 1e6)
    if slowest:
        batches = max(1, int(budget_s / (TURN_STEPS * TURNS * len(networks)) / slowest))
        for network in networks:
            network.batches = min(batches, network.population.batch_chunk) if network.population is not None else None


@torch.no_grad()
def time_steps(population: Population, network: Network) -> float:
    """The microseconds an image of real training steps on the next chunk of images, gathering included."""
    start = time.perf_counter()
    with population.working():
        x, y, batches = next_batches(population, network)
        factors = [1.0] * batches
        if population.graph is not None:
            population.graph.run(x, y, factors)
        else:
            population.train_steps(x, y, factors)
    _synchronize(population.spec.device)
    return 1e6 * (time.perf_counter() - start) / (batches * population.spec.batch_size)


@torch.no_grad()
def time_parts(population: Population, network: Network) -> dict[str, float]:
    """The microseconds an example in each stage of a training step, unless it is compiled, and in inference."""
    parts = {} if network.role == "compiled" else time_stages(population, lambda: next_batches(population, network))
    assert network.forward is not None
    return parts | time_inference(population, network.forward, batches_of(population, 0, 1)[0])


def next_batches(population: Population, network: Network) -> tuple[Tensor, Tensor, int]:
    """The next examples and targets, and the number of batches that they are."""
    spec, total = population.spec, population.data.n_train
    batches = network.batches or population.batch_chunk
    start = network.next_image
    network.next_image = (start + batches * spec.batch_size) % total
    return *batches_of(population, start, batches), batches


def batches_of(population: Population, start: int, batches: int) -> tuple[Tensor, Tensor]:
    """So many batches from an example on, x [(1,) B, ...] and targets [(1,) B, K]; after the last comes the first."""
    spec = population.spec
    index = torch.arange(start, start + batches * spec.batch_size) % population.data.n_train
    index = index.to(spec.device)
    x, y = population.data.train_batch(index.unsqueeze(0) if population.batched else index)
    return x, population.objective.targets(y, spec.classes)


def _synchronize(device: str) -> None:
    if (wait := synchronizer(device)) is not None:
        wait()


def _failure_reason(problem: Exception) -> str:
    return problem.message if isinstance(problem, RelubenchError) else f"{type(problem).__name__}: {problem}"
