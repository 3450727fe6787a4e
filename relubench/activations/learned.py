"""Activations that learn a parameter or draw noise while training: differentiated by autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relubench.activations.definition import Activation


def prelu(init: float) -> Activation:
    """f(x) = x if x > 0 else a x, with a learned from `init`; f'(0) = a. He et al. 2015 (one a for a whole layer)."""

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        slope = learned[0] if learned else init
        return torch.where(z > 0, z, slope * z)

    return Activation(function=function, learned=(init,))


def swish(beta: float) -> Activation:
    """f(x) = x sigmoid(b x), with b learned from `beta`. Ramachandran, Zoph & Le 2017."""

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return z * torch.sigmoid((learned[0] if learned else beta) * z)

    return Activation(function=function, learned=(beta,))


def nrelu() -> Activation:
    """f(x) = max(0, x + n), n ~ N(0, variance sigmoid(x)); without noise max(0, x). Nair & Hinton 2010.

    The gradient is that of the sample, through the noise's scale as well.
    """

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        if noise is None:
            return torch.relu(z)
        # sqrt(sigmoid(z)) has slope 0 * infinity where the sigmoid underflows.
        deviation = torch.exp(torch.nn.functional.logsigmoid(z) / 2)
        return torch.relu(z + deviation * noise.to(z.dtype))

    return Activation(function=function, draw=_normal, exact_zeros=True)


def rrelu(lower: float, upper: float) -> Activation:
    """f(x) = x if x > 0 else s x, s ~ U(lower, upper) for each entry; without noise s = (lower + upper)/2.

    Xu et al. 2015, who divide by a ~ U(3, 8) and evaluate with x/5.5 = 0.1818 x; torch's mean slope is 0.2292.
    """
    mean = (lower + upper) / 2

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return torch.where(z > 0, z, (mean if noise is None else noise.to(z.dtype)) * z)

    def draw(shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return torch.empty(tuple(shape), device=generator.device).uniform_(lower, upper, generator=generator)

    return Activation(function=function, draw=draw)


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device)
