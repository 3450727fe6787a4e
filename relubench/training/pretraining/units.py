"""The units of restricted Boltzmann machines: conditional means, samples, and what each adds to the free energy.

A hidden unit sees x = W v + b, a visible one a = h W + c. Every function is elementwise, and `sample` draws from the
generator that it is given.

Sources: Hinton 2010, "A practical guide to training RBMs"; Nair & Hinton 2010, sections 2 to 4 (stepped sigmoid units,
and NReLU, which stands for them).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 10
"""A stepped unit's copies further than this from its input are taken as on or off; they are wrong 4e-5 times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """One type of unit: the mean and a draw given its input."""

    mean: Callable[[Tensor], Tensor]
    sample: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    """(input, mean, generator) -> a draw, in storage of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenUnits(Units):
    log_partition: Callable[[Tensor], Tensor]
    """log of the sum over the unit's states of exp(x h): what it takes off the free energy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VisibleUnits(Units):
    energy: Callable[[Tensor, Tensor], Tensor]
    """(v, c) -> the visible units' own part of the energy, summed over units [B]."""


def _bernoulli(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(mean).uniform_(generator=generator).lt_(mean)


def _bipolar(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of -1 and 1 with the given mean."""
    return torch.empty_like(mean).uniform_(-1.0, 1.0, generator=generator).lt_(mean).mul_(2.0).sub_(1.0)


def _gaussian(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(mean).normal_(generator=generator).add_(mean)


def _noise_deviation(x: Tensor) -> Tensor:
    """The standard deviation of NReLU's noise: sqrt(sigmoid(x)); never 0, which would be divided by."""
    return torch.sigmoid(x).sqrt_().clamp_(min=1e-18)


def _nrelu(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    """max(0, x + N(0, sigmoid(x)))."""
    noise = torch.empty_like(x).normal_(generator=generator)
    return torch.addcmul(x, noise, _noise_deviation(x)).relu_()


def _nrelu_mean(x: Tensor) -> Tensor:
    """E max(0, x + s n) = x Phi(x/s) + s phi(x/s), n ~ N(0, 1), s^2 = sigmoid(x)."""
    s = _noise_deviation(x)
    z = x / s
    below = torch.erfc(z * -math.sqrt(0.5)).mul_(0.5)
    return torch.exp(z.square().mul_(-0.5)).mul_(s).mul_(1.0 / math.sqrt(2.0 * math.pi)).add_(x * below)


def _stepped(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    """How many of the copies with inputs x - 1/2, x - 3/2, ... are on: those far below x all, those far above none."""
    first = torch.floor(x - WINDOW).clamp_(min=0.0)
    count, u = first.clone(), torch.empty_like(x)
    p = x - first + 0.5
    for _ in range(2 * WINDOW + 1):
        p.sub_(1.0)
        count.add_(u.uniform_(generator=generator).lt_(torch.sigmoid(p)))
    return count


def _stepped_mean(x: Tensor) -> Tensor:
    """sum over i >= 1 of sigmoid(x - i + 1/2), by the midpoint rule with two corrections (to 1e-5); near softplus."""
    s = torch.sigmoid(x)
    slope = s * (1.0 - s)
    third = slope * (1.0 - 6.0 * slope)
    return F.softplus(x, threshold=50.0) - slope / 24.0 + third * (7.0 / 5760.0)


def _stepped_log_partition(x: Tensor) -> Tensor:
    """sum over i >= 1 of softplus(x - i + 1/2): the dilogarithm -Li2(-e^x), with two corrections (to 1e-5)."""
    from scipy.special import spence

    tail = torch.from_numpy(spence(1.0 + torch.exp(-x.abs()).double().cpu().numpy())).to(x)
    # -Li2(-e^x) = x^2/2 + pi^2/6 + Li2(-e^-x) for a positive x.
    log_partition = torch.where(x > 0, x.square() / 2.0 + math.pi**2 / 6.0 + tail, -tail)
    s = torch.sigmoid(x)
    return log_partition - s / 24.0 + s * (1.0 - s) * (1.0 - 2.0 * s) * (7.0 / 5760.0)


def _two_cosh(x: Tensor) -> Tensor:
    """log(2 cosh x)"""
    return x.abs() + torch.log1p(torch.exp(-2.0 * x.abs()))


def _linear_energy(v: Tensor, c: Tensor) -> Tensor:
    return -(v @ c)


HIDDEN: dict[str, HiddenUnits] = {
    "bernoulli": HiddenUnits(
        mean=torch.sigmoid, sample=_bernoulli, log_partition=lambda x: F.softplus(x, threshold=50.0)
    ),
    "bipolar": HiddenUnits(mean=torch.tanh, sample=_bipolar, log_partition=_two_cosh),
    "nrelu": HiddenUnits(mean=_nrelu_mean, sample=_nrelu, log_partition=_stepped_log_partition),
    "stepped": HiddenUnits(mean=_stepped_mean, sample=_stepped, log_partition=_stepped_log_partition),
}

VISIBLE: dict[str, VisibleUnits] = {
    "bernoulli": VisibleUnits(mean=torch.sigmoid, sample=_bernoulli, energy=_linear_energy),
    "bipolar": VisibleUnits(mean=torch.tanh, sample=_bipolar, energy=_linear_energy),
    "gaussian": VisibleUnits(
        mean=lambda a: a, sample=_gaussian, energy=lambda v, c: (v - c).square().sum(dim=-1).mul(0.5)
    ),
}
