"""Pre-trains one layer on what the finished layers below it make of the images.

`LayerTraining.train` is a loop that yields after every chunk of steps and after every epoch; its caller may stop
there, save `state()`, and load it into a new one later, which then goes on to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.models.backend import stack_backend
from relubench.models.builder import Builder
from relubench.models.external.held_modules import Held, HeldStates
from relubench.models.layers.base import Layer, SignFlip
from relubench.models.random_streams import MemberNoise, stream
from relubench.runs.result import LayerPoint
from relubench.runs.spec import RunSpec
from relubench.training.driver import Step
from relubench.training.evaluation import accumulator
from relubench.training.images import Images
from relubench.training.memory import CHUNK_IMAGES
from relubench.training.pretraining.dae_layer import DaeLayer
from relubench.training.pretraining.rbm_layer import RbmLayer
from relubench.training.pretraining.source import Source

FREE_ENERGY_EXAMPLES = 2000
"""Training and validation images whose free energies are compared after every epoch."""

FREE_ENERGY_BOUND = 1e4
"""Nats per unit, in magnitude, beyond which a free energy is growing without bound; a trained one has a few."""


class Model(Protocol):
    """What learns a layer: RbmLayer or DaeLayer."""

    noises: list[MemberNoise]
    layers: Sequence[Layer]
    """The network's own."""

    def working(self) -> AbstractContextManager[None]: ...
    def prepare(self, x: Tensor) -> tuple[Tensor, ...]: ...
    def step(self, *rows: Tensor) -> Tensor: ...
    def squared_error(self, batches: Iterable[Tensor]) -> Iterable[Tensor]: ...
    def free_energy(self, x: Tensor) -> Tensor | None: ...
    def network(self) -> dict[str, Tensor]: ...
    def reconstruction(self, x: Tensor) -> Tensor: ...
    def tensors(self) -> dict[str, Tensor]: ...


class LayerTraining:
    """Layer number `layer` (from 0) of a run, in pre-training."""

    def __init__(
        self, spec: RunSpec, choice: ActivationChoice, data: Images, layer: int, below: Sequence[Mapping[str, Tensor]]
    ) -> None:
        """`below`: the network's parameters by name, of each finished layer."""
        assert spec.stack is not None
        self.spec, self.stack, self.data, self.layer = spec, spec.stack, data, layer
        stages = hidden_stages(spec, choice, below)
        self.source = Source(data, [part for stage in stages[:layer] for part in stage], _inputs(spec, layer))
        signs = _signs(stages[layer - 1]) if layer else None
        statistics = self.source.statistics(signs)
        self.model: Model = (
            RbmLayer(spec, layer, statistics, signs)
            if self.stack.method == "rbm"
            else DaeLayer(spec, layer, stages[layer], statistics, signs)
        )
        self.curve: list[LayerPoint] = []
        self.diverged = ""
        """Why, if it did."""
        self.epoch, self.step = 0, 0
        self.error = torch.zeros((), dtype=accumulator(spec.device), device=spec.device)

    @torch.no_grad()
    def train(self) -> Iterator[Step]:
        """Train to the end, or to a divergence, from wherever it stands."""
        size = self.stack.batch_size
        steps = self._steps()
        chunk = max(1, CHUNK_IMAGES // size)
        while self.epoch < self.stack.epochs and not self.diverged:
            generator = stream(self.spec.seed, "pretrain-order", self.layer, self.epoch)
            order = torch.randperm(self.data.n_train, generator=generator).to(self.spec.device)
            while self.step < steps:
                index = order[self.step * size : (self.step + chunk) * size]
                self.train_rows(index)
                self.step = min(self.step + chunk, steps)
                yield Step(len(index), epoch_ended=False)
            self._end_epoch()
            yield Step(0, epoch_ended=True)

    def _steps(self) -> int:
        return math.ceil(self.data.n_train / self.stack.batch_size)

    @property
    def epochs_done(self) -> float:
        """Epochs trained, the fraction of the current one included."""
        return self.epoch + self.step / self._steps()

    def train_rows(self, index: Tensor) -> None:
        """Take the steps of these training images, batch by batch."""
        with self.model.working():
            rows = self.model.prepare(self.source.chunk(index))
            for start in range(0, len(index), self.stack.batch_size):
                part = slice(start, start + self.stack.batch_size)
                self.error.add_(self.model.step(*(row[part] for row in rows)))

    def _end_epoch(self) -> None:
        values = self.data.n_train * self.source.width
        train = float(self.error) / values
        errors = self.model.squared_error(self.source.slices("valid"))
        valid = float(sum(error.sum(dtype=self.error.dtype) for error in errors)) / (
            self.data.prepared.n_valid * self.source.width
        )
        energies = [self._free_energy(split) for split in ("train", "valid")]
        self.epoch, self.step = self.epoch + 1, 0
        self.error.zero_()
        point = LayerPoint(
            epoch=self.epoch,
            train_error=_finite(train),
            valid_error=_finite(valid),
            train_free_energy=_finite(energies[0]),
            valid_free_energy=_finite(energies[1]),
        )
        self.curve.append(point)
        self.diverged = self._divergence(train, valid, energies)

    def _divergence(self, train: float, valid: float, energies: Sequence[float | None]) -> str:
        where = f"pre-training of layer {self.layer + 1} diverged in epoch {self.epoch}{self._rate_advice()}"
        weights = self.model.network().values()
        if not all(math.isfinite(error) for error in (train, valid)) or not all(
            bool(torch.isfinite(weight).all()) for weight in weights
        ):
            return f"{where}: weights or reconstruction errors were not finite"
        bound = FREE_ENERGY_BOUND * (self.source.width + self.spec.hidden[self.layer])
        if any(energy is not None and not abs(energy) <= bound for energy in energies):
            return f"{where}: the free energy grows without bound"
        return ""

    def _rate_advice(self) -> str:
        """Advice on the rate of Gaussian units, after Hinton 2010 (section 13.2); empty for other units."""
        stack = self.stack
        if stack.method != "rbm" or stack.visible[self.layer] != "gaussian":
            return ""
        return (
            f" (Gaussian visible units need rates 10 to 100 times smaller, here less than {stack.rates[self.layer]:g})"
        )

    def _free_energy(self, split: str) -> float | None:
        batches = [self.model.free_energy(x) for x in self.source.slices(split, FREE_ENERGY_EXAMPLES)]
        energies = [energy for energy in batches if energy is not None]
        return float(torch.cat(energies).to(self.error.dtype).mean()) if energies else None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that training goes on from: tensors, and plain values."""
        tensors = {**self.model.tensors(), "error": self.error}
        tensors |= {f"noise/{place}": noise.state() for place, noise in enumerate(self.model.noises)}
        held, trees = HeldStates.now(Held.of(self.model.layers)).packed("held/")
        curve = [asdict(point) for point in self.curve]
        values = {"epoch": self.epoch, "step": self.step, "curve": curve, "diverged": self.diverged}
        return tensors | held, values | ({"held": trees} if trees else {})

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises KeyError or RuntimeError if it is another layer's."""
        for name, value in self.model.tensors().items():
            value.copy_(tensors[name])
        for place, noise in enumerate(self.model.noises):
            noise.load(tensors[f"noise/{place}"])
        states = HeldStates.now(Held.of(self.model.layers))
        states.unpack(tensors, values.get("held", ()), self.spec.device)
        states.put_back()
        self.error.copy_(tensors["error"])
        self.epoch, self.step, self.diverged = values["epoch"], values["step"], values["diverged"]
        self.curve = [LayerPoint(**point) for point in values["curve"]]


def hidden_stages(spec: RunSpec, choice: ActivationChoice, below: Sequence[Mapping[str, Tensor]]) -> list[list[Layer]]:
    """The run's hidden layers for one member on its device, the lowest ones with the weights of `below`.

    Without dropout, which belongs to fine-tuning, and in full precision.
    """
    plain = replace(spec, dropout=0.0, precision="fp32", backend=stack_backend(spec))
    stages = Builder(plain, choice, [spec.seed], batched=False).hidden_stages()
    for stage, weights in zip(stages, below, strict=False):
        for parameter in (parameter for layer in stage for parameter in layer.parameters):
            parameter.value.copy_(weights[parameter.name].view_as(parameter.value))
    return stages


def shuffled(weights: Mapping[str, Tensor], seed: int, layer: int) -> dict[str, Tensor]:
    """Each tensor's numbers in a random order of their own: the control, whose statistics alone are pre-trained."""
    generator = stream(seed, "pretrain-shuffle", layer)
    return {
        name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
        for name, value in sorted(weights.items())
    }


def _inputs(spec: RunSpec, layer: int) -> int:
    return spec.hidden[layer - 1] if layer else math.prod(spec.input_shape)


def _signs(stage: Sequence[Layer]) -> Tensor | None:
    return next((layer.signs for layer in stage if isinstance(layer, SignFlip)), None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
