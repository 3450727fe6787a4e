"""Activations as layers: with a gradient written by hand, by autograd, or a user's own module.

Shapes: P member, B batch, I/O features in/out, F features, C channels, YX image. One network drops P: x [B, F] or
[B, C, Y, X]; a stack has x [P, B, F] or [P, B, C, Y, X]. Features lie in dimension -1, channels in dimension -3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relubench.activations.definition import Activation, trainable
from relubench.models.layers.base import AutogradLayer, Layer, draw
from relubench.models.matmul import MOST_SHAPES
from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import MemberNoise, ModuleNoise


class AnalyticActivation(Layer):
    """h = f(z) with a hand-written gradient, over z's own storage where that is possible."""

    hidden = True

    def __init__(self, activation: Activation, dim: int) -> None:
        assert activation.gradient is not None
        self.activation, self.dim, self.gradient = activation, dim, activation.gradient
        self.saved = torch.empty(0)
        self.outputs: dict[torch.Size, Tensor] = {}
        # Whether in training the kernels of the layers below and above do its work.
        self.forward_fused = self.backward_fused = False

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if training and self.forward_fused:
            self.saved = x
            return x
        if self.activation.inplace is not None:
            self.saved = h = self.activation.inplace(x)
            return h
        if training and self.activation.out is not None and self.activation.inputs_per_unit == 1:
            if x.shape not in self.outputs:
                if len(self.outputs) == MOST_SHAPES:
                    self.outputs.clear()
                self.outputs[x.shape] = torch.empty_like(x)
            h = self.activation.out(x, self.outputs[x.shape], self.dim)
        else:
            h = self.activation.function(x, dim=self.dim)
        self.saved = x if self.activation.saves == "z" else h
        return h

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad if self.backward_fused else self.gradient(grad, self.saved, self.dim)


class AutogradActivation(AutogradLayer):
    """h = f(z) for activations that learn, that draw noise, or whose gradient has no closed form here."""

    hidden = True

    def __init__(
        self, activation: Activation, dim: int, learned: Sequence[Parameter], noise: MemberNoise | None
    ) -> None:
        super().__init__(learned)
        self.activation, self.dim, self.noise = activation, dim, noise

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        noise = None
        if training and self.noise is not None and self.activation.draw is not None:
            noise = draw(self.noise, x, self.activation.draw)
        return self.activation.function(x, learned=tuple(leaves), noise=noise, dim=self.dim)


class UserModule(AutogradLayer):
    """h = module(z) for a user's own nn.Module class, one instance a member, its parameters trained with the rest."""

    hidden = True

    def __init__(
        self, modules: Sequence[nn.Module], parameters: Sequence[Parameter], noise: ModuleNoise, batched: bool
    ) -> None:
        super().__init__(parameters)
        self.modules, self.batched = list(modules), batched
        self.noise = self.draws = noise
        self.names = list(trainable(self.modules[0]))
        self.held = [(module, member) for member, module in enumerate(self.modules)]

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        for module in self.modules:
            module.train(training)
        if not self.batched:
            return self._call(0, x, leaves)
        members = [[leaf[member] for leaf in leaves] for member in range(len(self.modules))]
        outputs = [self._call(member, *inputs) for member, inputs in enumerate(zip(x, members, strict=True))]
        return torch.stack(outputs)

    def _call(self, member: int, x: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        module, parameters = self.modules[member], dict(zip(self.names, leaves, strict=True))
        with self.draws.members[member].standing_in():
            # TorchScript's modules cannot be given parameters, and have none here.
            return torch.func.functional_call(module, parameters, (x,)) if parameters else module(x)
