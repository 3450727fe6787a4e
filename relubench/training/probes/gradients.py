"""Gradients: their norms in every hidden layer's weights and outputs, and how far a step moves the weights.

The loss is the training's: its task's mean loss and the L1 penalty. Dropout and noise are off; batch norm takes the
statistics of the images it is given, as in training. Nothing that training goes on from is changed.

Shapes: P member, B batch, K output units. One network drops P.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relubench.models.external.held_modules import HeldStates
from relubench.models.layers.activation import AnalyticActivation
from relubench.models.layers.base import AutogradLayer, Layer
from relubench.models.layers.dense import Linear
from relubench.models.layers.normalisation import Norm
from relubench.training.evaluation import accumulator
from relubench.training.probes.base import Probe, finite
from relubench.training.probes.dead_units import stage_weights

if TYPE_CHECKING:
    from relubench.training.member import Member
    from relubench.training.network import Network


GRADIENT_IMAGES = 1000
"""Gradients are taken on the first of the images, since a backward pass costs twice a forward one."""


class GradientProbe(Probe):
    """Adds the gradients to what was recorded of each hidden layer after the same epoch."""

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        norms = gradient_norms(self.population, self.images.slices(GRADIENT_IMAGES))
        ratios = update_ratios(self.population, *self.images.first(self.population.spec.batch_size))
        for place, member in running.items():
            member.probes[-len(norms) :] = [
                replace(
                    record,
                    weight_gradient=finite(float(layer.weight[place])),
                    activation_gradient=finite(float(layer.activation[place])),
                    update_ratio=finite(float(ratio[place])),
                )
                for record, layer, ratio in zip(member.probes[-len(norms) :], norms, ratios, strict=True)
            ]


@dataclass(frozen=True, slots=True)
class GradientNorms:
    """The norms of one hidden layer, by member [P]."""

    weight: Tensor
    activation: Tensor


def gradient_norms(population: Network, batches: Iterable[tuple[Tensor, Tensor]]) -> list[GradientNorms]:
    """The norms over all of the batches, x [B, ...] and labels [B]; see `runs.result.LayerProbe`."""
    layers, members = population.layers, len(population.members)
    weights = [weight.value for weight in stage_weights(layers)]
    buffers = [(buffer.value, buffer.value.clone()) for layer in layers for buffer in layer.buffers]
    held = HeldStates.now(population.held)
    total = [torch.zeros_like(weight) for weight in weights]
    # Squares of a gradient below fifty layers of sigmoid, 1e-30, are 0 in float32.
    exact = accumulator(population.spec.device)
    sums = [torch.zeros(members, device=population.spec.device, dtype=exact) for _ in weights]
    images = 0
    for x, labels in batches:
        grads, outputs = _backward(population, weights, x, labels)
        images += len(labels)
        for place, (grad, output) in enumerate(zip(grads, outputs, strict=True)):
            total[place] += grad
            by_image = output.reshape(members, len(labels), -1)
            sums[place] += torch.linalg.vector_norm(by_image, dim=2, dtype=exact).sum(dim=1)
    for value, before in buffers:
        value.copy_(before)
    held.put_back()
    return [
        GradientNorms(
            torch.linalg.vector_norm((gradient / images).reshape(members, -1), dim=1, dtype=exact), output / images
        )
        for gradient, output in zip(total, sums, strict=True)
    ]


def _backward(
    population: Network, weights: Sequence[Tensor], x: Tensor, labels: Tensor
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The gradients of the summed loss in the hidden layers' weights and outputs."""
    outputs: list[Tensor] = []
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            h = x.expand(len(population.members), *x.shape) if population.batched else x
            loss = torch.zeros((), device=x.device)
            for layer in population.layers:
                h = differentiable(layer, h)
                if layer.hidden:
                    outputs.append(h)
                    if population.has_l1:
                        by_member = h.abs().reshape(len(population.members), -1).sum(dim=1)
                        loss = loss + (population.l1_P * by_member).sum()
            loss = loss + population.objective.losses(h, labels).sum()
            gradients = torch.autograd.grad(loss, [*weights, *outputs], allow_unused=True, materialize_grads=True)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return gradients[: len(weights)], gradients[len(weights) :]


def differentiable(layer: Layer, x: Tensor) -> Tensor:
    """The layer's output in evaluation mode as autograd can follow it: an activation in place would not do."""
    if isinstance(layer, AnalyticActivation):
        return layer.activation.function(x, dim=layer.dim)
    if isinstance(layer, Linear) and not layer.bf16:
        # Its own forward uses a transposed view that was made outside of autograd.
        w, b = layer.weight.value, layer.bias.value
        return torch.baddbmm(b, x, w.mT) if layer.batched else torch.nn.functional.linear(x, w, b)
    if isinstance(layer, AutogradLayer):
        over_batch = isinstance(layer, Norm) and layer.row.over_batch
        return layer.apply(x, [parameter.value for parameter in layer.parameters], training=over_batch)
    return layer.forward(x, training=False)


@torch.no_grad()
def update_ratios(population: Network, x: Tensor, labels: Tensor) -> list[Tensor]:
    """|the next step's change| / |weights| of every hidden layer's weights, [P] each, for a step on x [B, ...].

    The step is taken, by the optimizer as it stands, measured and undone.
    """
    members = len(population.members)
    tensors, values = population.state()
    before = {key: value.clone() for key, value in tensors.items()}
    weights = stage_weights(population.layers)
    y = population.objective.targets(labels, population.spec.classes)
    if population.batched:
        x, y = x.expand(members, *x.shape).contiguous(), y.expand(members, *y.shape).contiguous()
    population.update.set_factor(population.next_factor())
    population.train_step(x, y)
    ratios = []
    for weight in weights:
        old = before[weight.name]
        change = (weight.value - old).reshape(members, -1).norm(dim=1)
        ratios.append(change / old.reshape(members, -1).norm(dim=1))
    population.load(before, values)
    return ratios
