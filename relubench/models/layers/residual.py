"""Identity skips around hidden layers: h_l = h_(l-1) + s f(norm(W_l h_(l-1) + b_l)), s = 1/sqrt(number of skips).

The skip leads around the whole layer, its activation included, and nothing follows the sum. With s = 1 the outputs of a
positively homogeneous activation would grow with a power of the depth; this s keeps them bounded at any depth (Hayou et
al. 2021, Stable ResNet, AISTATS, uniform scaling). What is counted as sparsity, and what L1 acts on, is f's own output.

A `Fork` in front of the layer keeps its input, a `Join` behind it adds it: between the two, the layer is what it is
without a skip. Shapes: x [..., F]; one network or a stack alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer


class Fork(Layer):
    """x itself, kept for the `Join` or the `StreamSum` at the end of the skip."""

    def __init__(self) -> None:
        self.x = self.grad = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.x = x
        return x

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        units = min(grad.shape[-1], self.grad.shape[-1])
        grad[..., :units].add_(self.grad[..., :units])
        return grad


class Join(Layer):
    """x0 + scale*x, with x0 the fork's; of networks whose widths step down by a unit, the units that both have.

    Neither operand is overwritten: the weights' gradient still needs x0, the activation's may need x.
    """

    def __init__(self, fork: Fork, scale: float) -> None:
        self.fork, self.scale = fork, scale

    def forward(self, x: Tensor, training: bool) -> Tensor:
        skipped = self.fork.x[..., : x.shape[-1]]
        self.fork.x = skipped.new_empty(0)
        return torch.add(skipped, x, alpha=self.scale)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        self.fork.grad = grad
        return grad * self.scale
