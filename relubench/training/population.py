"""Trains a population: P networks of one shape that differ in seed, learning rate or L1 penalty.

On a processor a population is one network and a step is a few matrix products; on other devices its members are
batched along a leading dimension. Either way a member's numbers depend on its own specification alone.
`Population.train` is a loop that yields after every chunk of steps and after every epoch; its caller may stop there,
save `state()`, and load it into a new population later, which then goes on to the same bits.

Shapes: P member, B batch, F features, K output units, N examples. One network drops P.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.models.builder import Builder
from relubench.models.families import family_of
from relubench.models.norm_table import NORMS
from relubench.models.optimizers import build_optimizer
from relubench.models.random_streams import MemberNoise
from relubench.runs.result import EpochPoint, valid_values
from relubench.runs.spec import RunSpec
from relubench.runs.task import task_called
from relubench.system.device_kinds import DEVICES
from relubench.training.augmentation import augmented
from relubench.training.cuda_graph import ChunkGraph
from relubench.training.driver import Step
from relubench.training.evaluation import Evaluation, accumulator, check_scores, evaluate, with_values
from relubench.training.images import Images
from relubench.training.losses import objective_of
from relubench.training.member import Member
from relubench.training.memory import chunk_factor
from relubench.training.probes.prober import Prober
from relubench.training.schedule import lr_factor
from relubench.training.steps import train_step
from relubench.training.weights import PopulationWeights


class Population:
    """P networks in training on one device; see `train`."""

    def __init__(self, specs: Sequence[RunSpec], choice: ActivationChoice, data: Images) -> None:
        first = self.spec = specs[0]
        self.task, self.objective = task_called(first.task), objective_of(first.task)
        self.data = replace(data, reconstructed=self.task.reconstructs)
        self.members = [Member(spec, []) for spec in specs]
        batchable = family_of(first.model).can("batched")
        assert batchable or len(specs) == 1, "such a network is trained alone"
        self.batched = (len(specs) > 1 or not first.on_processor) and batchable
        self.l1_P = torch.tensor([spec.l1 for spec in specs], device=first.device)
        self.has_l1 = any(spec.l1 for spec in specs)
        seeds = [spec.seed for spec in specs]
        self.augmentation = MemberNoise(seeds, "augment", 0, first.device) if first.augment != "none" else None
        self.loss_P = torch.zeros(len(specs), dtype=accumulator(first.device), device=first.device)
        self.epoch, self.step, self.last_epoch = 0, 0, first.epochs
        self.order_PN = torch.empty(0)
        self.loss_chunk = max(1, data.chunk // first.batch_size)
        self.batch_chunk = self.loss_chunk * chunk_factor(first)
        self.build(choice)

    def build(self, choice: ActivationChoice) -> None:
        """Makes the layers with this activation and their first weights, and all that holds on to them."""
        spec, specs = self.spec, [member.spec for member in self.members]
        builder = Builder(spec, choice, [member.seed for member in specs], self.batched)
        self.layers, self.kernels = builder.layers(), builder.kernels
        self.values = PopulationWeights(self.layers, self.kernels, len(specs), batched=self.batched, device=spec.device)
        self.parameters, self.held = self.values.parameters, self.values.held
        self.update = build_optimizer(
            self.parameters,
            name=spec.optimizer,
            rates=[member.lr for member in specs],
            momentum=spec.momentum,
            decay=spec.weight_decay,
            batched=self.batched,
            learned_rate=spec.act_lr,
        )
        self.graph = ChunkGraph(self) if self._can_be_captured() else None
        self.prober = Prober(self) if self.spec.probe != "none" else None

    def _can_be_captured(self) -> bool:
        """Whether a chunk of steps is the same kernels every time: on CUDA, without draws and without user code."""
        return DEVICES[self.spec.device].graphs and self.batched and not self._noises() and not self.held

    @torch.no_grad()
    def train(self) -> Iterator[Step]:
        """Train to the end, from wherever the population stands."""
        self.begin()
        while not self.ended:
            self.draw_order()
            while self.step < self.steps:
                yield Step(self.train_chunk(), epoch_ended=False)
            self.end_epoch()
            yield Step(0, epoch_ended=True)

    def begin(self) -> None:
        """Probe the networks before their first step."""
        if self.epoch == self.step == 0:
            with self._evaluating():
                self._probe()

    @property
    def ended(self) -> bool:
        """Whether no epoch is left to train."""
        return self.epoch >= self.last_epoch or all(member.stopped for member in self.members)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.images / self.spec.batch_size)

    def end_epoch(self) -> None:
        """Validate and probe the networks after an epoch's last step."""
        with self._evaluating():
            self._record_epoch()
            self._probe()

    @property
    def images(self) -> int:
        """Training images of an epoch: all but a lone one in the last batch where one alone cannot be trained on."""
        spec, total = self.spec, self.data.n_train
        pairs = spec.foreign.pairs if spec.foreign is not None else NORMS[spec.norm].over_batch and bool(spec.hidden)
        return total - 1 if pairs and total > 1 and total % spec.batch_size == 1 else total

    def _probe(self) -> None:
        if self.prober is not None:
            self.prober.probe(self.epoch)

    @property
    def epochs_done(self) -> float:
        """Epochs trained, the fraction of the current one included."""
        return self.epoch + self.step / self.steps

    def draw_order(self) -> None:
        """Draw the order of every member's images in this epoch."""
        orders = [self.data.epoch_order(member.spec.seed, self.epoch) for member in self.members]
        self.order_PN = (torch.stack(orders) if self.batched else orders[0]).to(self.spec.device)

    def train_chunk(self, most: int | None = None) -> int:
        """Train on the next batches, `most` at most; returns the images of each member."""
        with self.working():
            x, y, factors = self.next_chunk(most)
            if self.graph is not None and x.shape[1] == self.batch_chunk * self.spec.batch_size:
                self.graph.run(x, y, factors)
            else:
                self.train_steps(x, y, factors)
        self.advance(len(factors))
        return y.shape[-2]

    def next_chunk(self, most: int | None = None) -> tuple[Tensor, Tensor, list[float]]:
        """The next batches, x [(P,) N, ...] and y [(P,) N, K], and the learning-rate factor of each step on them."""
        chunk, size = min(most or self.batch_chunk, self.batch_chunk, self.steps - self.step), self.spec.batch_size
        start = self.step * size
        x, labels = self.data.train_batch(self.order_PN[..., start : start + chunk * size])
        factors = [self._lr_factor(self.step + number) for number in range(chunk)]
        return x, self.objective.targets(labels, self.spec.classes), factors

    def advance(self, chunk: int) -> None:
        """Count steps that were taken; the epoch ends early for a network that has diverged and is trained alone."""
        self.step += chunk
        if not self.batched and not bool(torch.isfinite(self.loss_P).all()):
            self.step = self.steps

    def train_steps(self, x_all: Tensor, y_all: Tensor, factors: Sequence[float] | Tensor) -> None:
        """One update on each batch of a chunk, with the learning rates scaled by its factor; adds to the loss."""
        dim, size = (1 if self.batched else 0), self.spec.batch_size
        batches, logs = zip(x_all.split(size, dim), y_all.split(size, dim), factors, strict=True), []
        for x, y, factor in batches:
            logs.append(self.step_on(x, y, factor))
        self.add_loss(torch.cat(logs, dim=-2), y_all)

    def step_on(self, x: Tensor, y: Tensor, factor: float | Tensor) -> Tensor:
        """One update on a batch, with the learning rates scaled by the factor; returns the objective's record."""
        self.update.set_factor(factor)
        return self.train_step(augmented(x, self.spec.augment, self.augmentation, batched=self.batched), y)

    def add_loss(self, records: Tensor, y_all: Tensor) -> None:
        """Add the loss of a chunk's records [(P,) N, K]: each step's own call would take a tenth of its time."""
        parts = (values.split(self.loss_chunk * self.spec.batch_size, dim=-2) for values in (records, y_all))
        for record, y in zip(*parts, strict=True):
            self.loss_P.add_(self.objective.total(record, y, self.loss_P.dtype))

    def train_step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update on a batch, x [(P,) B, ...] and y [(P,) B, K]; returns the objective's record before it."""
        return train_step(self, x, y)

    def add_l1(self, grad: Tensor, h: Tensor, batch: int) -> Tensor:
        """Adds d/dh of (l1 / B) * sum |h|; sum over units (and pixels), mean over the batch."""
        if not self.batched:
            return grad.add_(torch.sign(h), alpha=self.spec.l1 / batch)
        scale_P = (self.l1_P / batch).view(-1, *[1] * (h.dim() - 1))
        return grad.addcmul_(torch.sign(h), scale_P.expand_as(h))

    def next_factor(self) -> float:
        """The learning-rate factor of the next step."""
        return self._lr_factor(self.step)

    def _lr_factor(self, step: int) -> float:
        """The learning-rate factor at a step of the current epoch."""
        return lr_factor(self.spec, self.epoch * self.steps + step, self.steps)

    # -- the end of an epoch -----------------------------------------------------------------------------------------

    def _record_epoch(self) -> None:
        valid = self._evaluate("valid", sparsity=False)
        losses = (self.loss_P / self.images).tolist()
        factor = self._lr_factor(self.steps - 1)
        self.epoch, self.step = self.epoch + 1, 0
        better = []
        for place, member in enumerate(self.members):
            score = self.task.score(valid.scores[place])
            finite = math.isfinite(losses[place]) and math.isfinite(valid.loss[place]) and math.isfinite(score)
            point = EpochPoint(
                epoch=self.epoch,
                train_loss=losses[place] if math.isfinite(losses[place]) else None,
                valid_loss=valid.loss[place] if finite else None,
                **valid_values(self.task, score if finite else None),
                lr=member.spec.lr * factor,
            )
            better.append(member.record(point, self.spec.patience))
        self.values.keep_best(better)
        self.loss_P.zero_()

    def evaluate(self, split: str, *, best: bool = False, sparsity: bool = False) -> Evaluation:
        """Errors of every member on a split, with the current weights or the best epoch's."""
        with self.values.at_best() if best else nullcontext(), self._evaluating():
            return self._evaluate(split, sparsity)

    def _evaluate(self, split: str, sparsity: bool) -> Evaluation:
        result = evaluate(self.layers, self.objective, self.data, split, len(self.members), self.batched, sparsity)
        check_scores(result.scores, self.task)
        return with_values(result, self.task)

    def _evaluating(self) -> AbstractContextManager[None]:
        """Inside, no weight may change: an evaluation or a probe, or one after the other."""
        return self.kernels.evaluating() if self.kernels is not None else nullcontext()

    def working(self) -> AbstractContextManager[None]:
        """Inside, steps go at full speed: torch has no second thread that waits for work on another core."""
        return self.kernels.working() if self.kernels is not None else nullcontext()

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one member."""
        return self.values.parameter_count

    def still_at_chance(self, member: Member) -> bool:
        """Whether the member's best validation score is no better than that of the best constant answer."""
        return self.task.is_at_chance(member.best_score, self.data.targets("valid"))

    # -- state -------------------------------------------------------------------------------------------------------

    def weights(self, place: int, *, best: bool) -> dict[str, Tensor]:
        """The parameters and buffers of the member at `place`, by name."""
        return self.values.of_member(place, best=best)

    def held_values(self, place: int, *, best: bool) -> list[Any]:
        """What user modules of the member at `place` hold beside `weights`, as JSON values."""
        return self.values.held_values(place, best=best)

    def load_weights(self, tensors: Mapping[str, Tensor], held: Sequence[Any] = ()) -> None:
        """Take over `weights` and `held_values` of one network; raises KeyError, ValueError or RuntimeError."""
        self.values.load_member(tensors, held)

    def start_from(self, place: int, weights: Mapping[str, Tensor]) -> None:
        """Give the member at `place` these parameters, by name, before it is trained; what is not named stays."""
        self.values.start_from(place, weights)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that training goes on from: tensors, and plain values."""
        tensors, held = self.values.state()
        tensors |= {f"noise/{place}": noise.state() for place, noise in enumerate(self._noises())}
        tensors["loss"] = self.loss_P
        tensors |= self.prober.state() if self.prober is not None else {}
        members = [member.state() for member in self.members]
        return tensors, {"epoch": self.epoch, "step": self.step, "members": members, **held}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from `state()`; raises KeyError, ValueError or RuntimeError if it is another population's."""
        if self.held and self.prober is not None:
            self.prober.prepare()
        self.values.load(tensors, values)
        for place, noise in enumerate(self._noises()):
            noise.load(tensors[f"noise/{place}"])
        self.loss_P.copy_(tensors["loss"])
        if self.prober is not None:
            self.prober.load(tensors)
        self.epoch, self.step = values["epoch"], values["step"]
        for member, record in zip(self.members, values["members"], strict=True):
            member.load(record)

    def _noises(self) -> list[MemberNoise]:
        """The random streams of the members' noise."""
        return [noise for noise in (*(layer.noise for layer in self.layers), self.augmentation) if noise is not None]
