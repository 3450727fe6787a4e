"""Ten activations as people write them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lisht(x: Tensor) -> Tensor:
    """A plain function."""
    return x * torch.tanh(x)


def scaled(x: Tensor, height: float = 1.0) -> Tensor:
    """A function with a setting."""
    return height * F.softsign(x)


leaky = functools.partial(F.leaky_relu, negative_slope=0.2)
bounded = nn.Hardtanh(-2.0, 2.0)


def factory() -> nn.Module:
    """A function that makes a module."""
    return nn.Sequential(nn.ReLU(), nn.Hardtanh(0.0, 4.0))


class Serf(nn.Module):
    """A module."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.erf(F.softplus(x))


class Learned(nn.Module):
    """A number that is learned."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


class PerChannel(nn.Module):
    """A slope for each of the units or channels."""

    def __init__(self, units: int = 16) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((units,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x * self.slope)


class InPlace(nn.Module):
    """Writes over its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu_(x)


class _Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0).square()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * 2 * x.clamp(min=0)


def squared(x: Tensor) -> Tensor:
    """A backward pass of its own."""
    return _Squared.apply(x)  # type: ignore[no-any-return]
