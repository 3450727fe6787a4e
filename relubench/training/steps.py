"""One training step: forward pass, gradient of the objective, backward pass and update, layer by layer.

Shapes: P member, B batch, K output units. One network drops P.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer
from relubench.training.losses import Objective


class Steps(Protocol):
    """What a step works on."""

    layers: list[Layer]
    objective: Objective
    update: Optimizer
    has_l1: bool
    """Whether any network has a penalty on activations."""

    def add_l1(self, grad: Tensor, h: Tensor, batch: int) -> Tensor:
        """Adds d/dh of (l1 / B) * sum |h|; sum over units (and pixels), mean over the batch."""
        ...


def train_step(network: Steps, x: Tensor, y: Tensor) -> Tensor:
    """One update on a batch, x [(P,) B, ...] and y [(P,) B, K]; returns the objective's record before it."""
    layers, outputs = network.layers, []
    for layer in layers:
        x = layer.forward(x, training=True)
        outputs.append(x)
    batch = y.shape[-2]
    grad, record = network.objective.gradient(x, y)
    for place in range(len(layers) - 1, -1, -1):
        if network.has_l1 and layers[place].hidden:
            grad = network.add_l1(grad, outputs[place], batch)
        grad = layers[place].backward(grad, network.update, first=place == 0)
    network.update.finish()
    return record
