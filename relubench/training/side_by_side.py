"""Trains small networks side by side on one thread: their steps are batched, and each keeps the bits that it has alone.

A small network's step takes longer to call than to compute, and batched products are called once for all. Whatever is
no step (validation, probes, checkpoints' content) each network does by itself, as a lone one does it. The first chunk
of an epoch is trained either way, in turn: if a bit differs, or alone is faster, every network goes on alone.

Shapes: P member, B batch, N examples of a chunk, K output units, I/O features in/out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.models.builder import Builder
from relubench.models.optimizers import Optimizer, Parameter, Sgd
from relubench.runs.spec import RunSpec
from relubench.runs.task import Task
from relubench.training.driver import Step
from relubench.training.evaluation import Evaluation
from relubench.training.images import Images
from relubench.training.member import Member
from relubench.training.memory import shares_steps
from relubench.training.population import Population
from relubench.training.steps import train_step

State = tuple[dict[str, Tensor], dict[str, Any]]

Chunk = tuple[Tensor, Tensor, list[float]]
"""Images x [N, I], targets y [N, K], and each step's learning-rate factor."""

TRIAL_STEPS = 2
"""Steps that are taken either way in a round of the trial."""

MOST_ROUNDS = 6
"""Rounds of a trial; the first makes storage, and the fastest counts."""

STEPS_PER_ROUND = 40
"""A training has a round for so many steps, so that the trial is a small part of it; with less than two it has none."""


class SideBySide:
    """Populations of one network each, of one shape; see `train`."""

    def __init__(self, specs: Sequence[RunSpec], choice: ActivationChoice, data: Images) -> None:
        self.choice = choice
        self.populations = [Population([spec], choice, data) for spec in specs]
        alike = len({spec.lr for spec in specs}) == 1 and all(shares_steps(spec, choice) for spec in specs)
        self.batches: bool | None = None if alike else False
        """Whether steps are batched; None until it has been tried."""
        self.stack: Stack | None = None

    @property
    def members(self) -> list[Member]:
        """The record of every network."""
        return [population.members[0] for population in self.populations]

    @property
    def epochs_done(self) -> float:
        """Epochs trained by the network that is furthest, the fraction of the current one included."""
        return max(population.epochs_done for population in self.populations)

    @torch.no_grad()
    def train(self) -> Iterator[Step]:
        """Train to the end, from wherever the networks stand; one that has stopped leaves the others."""
        for population in self.populations:
            population.begin()
        while running := [population for population in self.populations if not population.ended]:
            for population in running:
                population.draw_order()
            while stepping := [population for population in running if population.step < population.steps]:
                yield Step(self._train_chunk(stepping), epoch_ended=False)
            for population in running:
                population.end_epoch()
            yield Step(0, epoch_ended=True)

    def _train_chunk(self, populations: Sequence[Population]) -> int:
        if len(populations) > 1 and self.batches is None:
            num_rounds = populations[0].steps * populations[0].spec.epochs // STEPS_PER_ROUND
            self.batches = num_rounds > 1 and self._is_better(populations, min(num_rounds, MOST_ROUNDS))
        if len(populations) == 1 or not self.batches:
            return max([population.train_chunk() for population in populations])
        return self._stack_of(populations).train_chunk()

    def _stack_of(self, populations: Sequence[Population]) -> Stack:
        if self.stack is None or self.stack.populations != list(populations):
            self.stack = Stack(populations, self.choice)
        return self.stack

    def _is_better(self, populations: Sequence[Population], num_rounds: int) -> bool:
        """Whether batched steps give the bits of steps taken alone, and are faster; the networks stay as they are."""
        stack, chunks = self._stack_of(populations), [population.next_chunk(TRIAL_STEPS) for population in populations]
        before = [_copied(population) for population in populations]
        seconds, after = list[float](), list[list[State]]()
        for steps in (stack.train_steps, _train_alone) * num_rounds:
            start = time.thread_time()
            steps(populations, chunks)
            seconds.append(time.thread_time() - start)
            after.append([_copied(population) for population in populations])
            for population, state in zip(populations, before, strict=True):
                population.load(*state)
        return all(map(_same_bits, after[0], after[1])) and min(seconds[::2]) < min(seconds[1::2])

    # -- one member --------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task of every network."""
        return self.populations[0].task

    @property
    def data(self) -> Images:
        """The data of every network."""
        return self.populations[0].data

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one member."""
        return self.populations[0].parameter_count

    def still_at_chance(self, member: Member) -> bool:
        """As `Population.still_at_chance`."""
        return self.populations[0].still_at_chance(member)

    def evaluate(self, split: str, *, best: bool = False, sparsity: bool = False) -> Evaluation:
        """As `Population.evaluate`, of every network by itself."""
        parts = [population.evaluate(split, best=best, sparsity=sparsity) for population in self.populations]
        return Evaluation(
            loss=[loss for part in parts for loss in part.loss],
            scores=np.concatenate([part.scores for part in parts]),
            zeros=np.concatenate([part.zeros for part in parts]),
        )

    def weights(self, place: int, *, best: bool) -> dict[str, Tensor]:
        """The parameters of the member at `place`, by name."""
        return self.populations[place].weights(0, best=best)

    def held_values(self, place: int, *, best: bool) -> list[Any]:
        """As `Population.held_values`."""
        return self.populations[place].held_values(0, best=best)

    def start_from(self, place: int, weights: Mapping[str, Tensor]) -> None:
        """Give the member at `place` these parameters, by name, before it is trained; what is not named stays."""
        self.populations[place].start_from(0, weights)

    # -- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Everything that training goes on from: tensors, and plain values."""
        states = [population.state() for population in self.populations]
        tensors = {f"{place}/{key}": value for place, (named, _) in enumerate(states) for key, value in named.items()}
        return tensors, {"networks": [values for _, values in states]}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from `state()`; raises KeyError, ValueError or RuntimeError if it is another training's."""
        for place, (population, own) in enumerate(zip(self.populations, values["networks"], strict=True)):
            prefix = f"{place}/"
            population.load({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}, own)


class Stack:
    """Networks whose parameters lie side by side in the same storage, and are trained there by the same calls."""

    def __init__(self, populations: Sequence[Population], choice: ActivationChoice) -> None:
        first = populations[0]
        self.populations, self.objective, self.size = list(populations), first.objective, first.spec.batch_size
        builder = Builder(first.spec, choice, [population.spec.seed for population in populations], batched=True)
        self.layers = builder.layers()
        for layer, *own in zip(self.layers, *(population.layers for population in populations), strict=True):
            if layer.noise is not None:
                layer.noise.generators = [lone.noise.generators[0] for lone in own if lone.noise is not None]
        self.l1 = [population.spec.l1 for population in populations]
        self.has_l1 = any(self.l1)
        parameters = [parameter for layer in self.layers for parameter in layer.parameters]
        for parameter, *own in zip(parameters, *(population.parameters for population in populations), strict=True):
            shape = parameter.value.shape[1:]
            parameter.value = torch.stack([lone.value.reshape(shape) for lone in own])
            for lone, value in zip(own, parameter.value, strict=True):
                lone.value = value.view_as(lone.value)
        self.update: Optimizer = SharedSgd(parameters, [first.spec.lr], 0.0, first.spec.weight_decay, batched=False)

    def train_chunk(self) -> int:
        """Train every network on its next batches; returns the images of each."""
        chunks = [population.next_chunk() for population in self.populations]
        self.train_steps(self.populations, chunks)
        for population, (_, _, factors) in zip(self.populations, chunks, strict=True):
            population.advance(len(factors))
        return len(chunks[0][1])

    def train_steps(self, populations: Sequence[Population], chunks: Sequence[Chunk]) -> None:
        """One update of every network on each batch of its chunk; adds to the losses."""
        x_PNI, y_PNK = (torch.stack(parts) for parts in list(zip(*chunks, strict=True))[:2])
        batches = zip(x_PNI.split(self.size, 1), y_PNK.split(self.size, 1), chunks[0][2], strict=True)
        records_PNK = torch.cat([self._step(*batch) for batch in batches], dim=1)
        for population, records, (_, y, _) in zip(populations, records_PNK, chunks, strict=True):
            population.add_loss(records, y)

    def _step(self, x_PBI: Tensor, y_PBK: Tensor, factor: float) -> Tensor:
        """One update of every network; returns the objective's records [P, B, K] before it."""
        if x_PBI.shape[1] == self.size:
            self.update.set_factor(factor)
            return train_step(self, x_PBI, y_PBK)
        # The bits of a product depend on its shape, and only a whole batch's were compared.
        own = zip(self.populations, x_PBI, y_PBK, strict=True)
        return torch.stack([population.step_on(x, y, factor) for population, x, y in own])

    def add_l1(self, grad: Tensor, h: Tensor, batch: int) -> Tensor:
        """Adds d/dh of (l1 / B) * sum |h| of every network."""
        signs = torch.sign(h)
        if len(set(self.l1)) == 1:
            return grad.add_(signs, alpha=self.l1[0] / batch)
        for own_grad, own_signs, l1 in zip(grad, signs, self.l1, strict=True):
            own_grad.add_(own_signs, alpha=l1 / batch)
        return grad


class SharedSgd(Sgd):
    """Plain Sgd of networks with one learning rate: the update of a lone one, on all parameters at once."""

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        beta = 1.0 - self.lr * self.decay if parameter.decays else 1.0
        parameter.value.baddbmm_(delta.mT, x, beta=beta, alpha=-self.lr)


def _train_alone(populations: Sequence[Population], chunks: Sequence[Chunk]) -> None:
    for population, chunk in zip(populations, chunks, strict=True):
        population.train_steps(*chunk)


def _copied(population: Population) -> State:
    tensors, values = population.state()
    return {key: value.clone() for key, value in tensors.items()}, values


def _same_bits(first: State, second: State) -> bool:
    """Whether two states of a network are the same, as bits: NaN is NaN."""
    tensors = zip(first[0].values(), second[0].values(), strict=True)
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in tensors)
