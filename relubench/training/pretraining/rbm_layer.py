"""A hidden layer of a network, pre-trained as an RBM.

The RBM's visible units are an affine map of the network's values: signs of a flipped layer below taken back, and, for
Gaussian units, the mean of each subtracted and all divided by the average standard deviation (Nair & Hinton 2010,
section 5). The map is folded into the weights that the network gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from relubench.models.backend import rbm_by_kernels, stack_backend
from relubench.models.layers.base import Layer
from relubench.models.matmul import library
from relubench.models.random_streams import MemberNoise, stream
from relubench.runs.spec import RunSpec
from relubench.training.pretraining.rbm import ContrastiveDivergence, Rbm
from relubench.training.pretraining.rbm_kernels import KernelDivergence
from relubench.training.pretraining.source import AffineMap, Statistics

INITIAL_DEVIATION = 0.01
"""Of the weights (Hinton 2010, section 8); biases of visible units start from the training mean."""

LEAST_SHARE = 0.001
"""A visible unit that is nearly always off or on starts as one that is so this share of the time."""


SPARSE = 0.5
"""The share of zeros from which on they are left out of products one by one."""


class RbmLayer:
    """The model that `greedy.LayerTraining` drives."""

    def __init__(self, spec: RunSpec, layer: int, statistics: Statistics, signs: Tensor | None) -> None:
        stack = spec.stack
        assert stack is not None
        kind, device = stack.visible[layer], spec.device
        self.layer, self.map = layer, visible_map(kind, statistics, signs)
        # For all but Gaussian units, whose biases start at zero, the map is the signs alone.
        mean = statistics.mean
        weight = torch.empty(spec.hidden[layer], len(mean)).normal_(
            generator=stream(spec.seed, "pretrain-init", layer), std=INITIAL_DEVIATION
        )
        uses_kernels = rbm_by_kernels(spec, weight.numel())
        rbm = Rbm(
            # Kernels have W by columns, and take it over sooner if it lies like that.
            weight.t().contiguous().t() if uses_kernels else weight.to(device),
            torch.zeros(spec.hidden[layer], device=device),
            initial_visible_bias(kind, mean),
            hidden=stack.hidden,
            visible=kind,
            library=library(stack_backend(spec), weight.numel()),
        )
        self.rbm = rbm
        self.layers: Sequence[Layer] = ()
        self.noises = [MemberNoise([spec.seed], "pretrain-sample", layer, device)]
        self.trainer = ContrastiveDivergence(
            rbm,
            rate=stack.rates[layer],
            k=stack.k,
            momentum=stack.momentum,
            weight_decay=stack.weight_decay,
            sampled=stack.sampled,
            generator=self.noises[0].generators[0],
        )
        sparse = statistics.zeros > SPARSE and self.map.shift is None
        workers = max(1, spec.threads)
        self.kernels = (
            KernelDivergence(self.trainer, stack.batch_size, workers, sparse=sparse) if uses_kernels else None
        )

    def working(self) -> AbstractContextManager[None]:
        """What steps are taken in."""
        return self.kernels.working() if self.kernels else nullcontext()

    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        """The rows of a chunk that `step` takes by batches."""
        return (self.map(x),)

    def step(self, *rows: Tensor) -> Tensor:
        """One update; returns the sum of squared reconstruction errors."""
        return (self.kernels or self.trainer).step(*rows)

    def squared_error(self, batches: Iterable[Tensor]) -> Iterable[Tensor]:
        """The squared errors [n, I] of the reconstruction of each batch of the layer's inputs."""
        for x in batches:
            v = self.map(x)
            yield (self.rbm.reconstruction(v) - v).square_()

    def free_energy(self, x: Tensor) -> Tensor | None:
        """[n]"""
        return self.rbm.free_energy(self.map(x))

    def network(self) -> dict[str, Tensor]:
        """The layer's parameters as the network has them, by name."""
        weight, bias = self.rbm.weight, self.rbm.hidden_bias
        if self.map.shift is not None:
            bias = bias + weight @ self.map.shift
        if self.map.factor is not None:
            weight = weight * self.map.factor
        return {
            f"{self.layer}.weight": weight.clone(memory_format=torch.contiguous_format),
            f"{self.layer}.bias": bias.clone(),
        }

    def reconstruction(self, x: Tensor) -> Tensor:
        """[n, I] in the network's own values."""
        v = self.rbm.reconstruction(self.map(x))
        v = v if self.map.shift is None else v - self.map.shift
        return v if self.map.factor is None else v / self.map.factor

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.trainer.tensors())


def visible_map(kind: str, statistics: Statistics, signs: Tensor | None) -> AffineMap:
    """The visible units' values out of the network's."""
    if kind != "gaussian":
        return AffineMap(factor=signs)
    scale = 1.0 / max(float(statistics.deviation.mean()), 1e-6)
    factor = torch.full_like(statistics.mean, scale) if signs is None else signs * scale
    return AffineMap(factor, -statistics.mean * scale)


def initial_visible_bias(kind: str, mean: Tensor) -> Tensor:
    """The biases at which the visible units' means are those of the training data."""
    if kind == "bernoulli":
        return torch.logit(mean.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE))
    if kind == "bipolar":
        return torch.atanh(mean.clamp(2.0 * LEAST_SHARE - 1.0, 1.0 - 2.0 * LEAST_SHARE))
    return torch.zeros_like(mean)
