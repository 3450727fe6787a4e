"""The gain that matches an activation: 1/sqrt(E[f(z)^2]), z ~ N(0, 1), where the integral has a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from relubench.activations.builder import as_function, build
from relubench.activations.checks.trial import Trial, fitting
from relubench.activations.choice import ActivationChoice
from relubench.activations.definition import Activation
from relubench.activations.layer_input import Frame
from relubench.errors import UsageError

_WIDEST = 12.0
"""Where the integral of f(z)^2 under the normal density ends; what lies beyond is below 1e-32 of it for |f| < z^10."""
_PIECES = 24 * 1024
"""Fine enough that a kink anywhere costs less than 1e-7 of the integral; those at whole numbers cost nothing."""
_EVALUATIONS = 3_000_000
"""Where every unit has parameters of its own: about so many values at most, on a coarser mesh."""
_AT_ONCE = 2_000_000
_COARSER = (16, 4)
"""Two meshes with fewer pieces, which a convergent integral agrees with."""
_AGREE = 1e-3
_PEAK = 1.5
"""From mesh to mesh a pole's highest value grows by the ratio of the meshes, about four; others' hardly changes."""


def matched_gain(activation_or_choice: ActivationChoice | Activation, layers: Sequence[Frame] = ()) -> float:
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1), columns independent; by Gauss-Legendre in float64, good to 1e-6.

    As in evaluation: without noise, learned parameters at their start, the mean over units that have their own.
    Raises UsageError where there is no such number. `layers`: where a user's own stands, if it fits nowhere else.
    """
    label = activation_or_choice.label if isinstance(activation_or_choice, ActivationChoice) else "the activation"
    activation = (
        build(activation_or_choice) if isinstance(activation_or_choice, ActivationChoice) else activation_or_choice
    )
    if activation.combines == "maximum":
        return _gain_of_maximum(activation.inputs_per_unit)
    if activation.combines == "product":
        # f(a, b) = a g(b), and E[a^2] = 1.
        return _gain(lambda b: activation.function(torch.stack([torch.ones_like(b), b]), dim=0)[0][:, None], label, 1)
    if activation.module is None and not (
        isinstance(activation_or_choice, ActivationChoice) and activation_or_choice.kind == "user"
    ):
        function = as_function(activation, torch.float64)
        return _gain(lambda z: function(z)[:, None], label, 1)
    return gain_of(fitting(label, activation, layers))


def gain_of(trial: Trial) -> float:
    """The gain of an activation on trial; UsageError where there is none."""
    return _gain(trial.values, trial.label, trial.frame.units)


def _gain(function: Callable[[Tensor], Tensor], label: str, units: int) -> float:
    """`function` gives [N, U] for [N]."""
    num_pieces = _PIECES
    while units > 1 and num_pieces * 4 * units > _EVALUATIONS and num_pieces > 24 * 16 * max(_COARSER) // 4:
        num_pieces //= 2
    coarser_moments = [_moment(function, num_pieces // factor, units) for factor in _COARSER]
    moment, tail, peak = _moment(function, num_pieces, units)
    if not math.isfinite(moment) or tail > 1e-6 * moment or moment == 0:
        raise UsageError(
            f"{label} has no usable gain: E[f(z)^2] is {moment:g}, or comes from |z| > 10, for z ~ N(0, 1)",
            "an activation must not vanish everywhere, nor grow as fast as exp(4*x); --init xavier needs no gain",
        )
    (_, _, coarsest_peak), (middle_moment, _, middle_peak) = coarser_moments
    has_pole = peak > _PEAK * middle_peak and middle_peak > _PEAK * coarsest_peak
    if abs(moment - middle_moment) > _AGREE * moment or has_pole:
        raise UsageError(
            f"{label} has no usable gain: E[f(z)^2], z ~ N(0, 1), does not converge: it is {middle_moment:.6g} on "
            f"one mesh and {moment:.6g} on one four times as fine",
            "an activation with a pole has no gain; --init xavier needs none",
        )
    return 1 / math.sqrt(moment)


def _moment(function: Callable[[Tensor], Tensor], num_pieces: int, units: int) -> tuple[float, float, float]:
    """E[f(z)^2], the part of it beyond |z| = 10.8, and the largest |f| that was met."""
    z, weights = _nodes(num_pieces)
    with torch.no_grad():
        values = torch.cat([function(chunk).double() for chunk in z.split(max(1, _AT_ONCE // units))])
    contributions = weights * (values[:, 0] ** 2 if values.shape[1] == 1 else (values**2).mean(dim=1))
    return float(contributions.sum()), float(contributions[z.abs() > 0.9 * _WIDEST].sum()), float(values.abs().max())


def _gain_of_maximum(inputs_per_unit: int) -> float:
    """The largest of k independent normals has density k phi(z) Phi(z)^(k-1)."""
    z, weights = _nodes(_PIECES)
    moment = (weights * inputs_per_unit * torch.special.ndtr(z) ** (inputs_per_unit - 1) * z**2).sum()
    return 1 / math.sqrt(float(moment))


def _nodes(num_pieces: int) -> tuple[Tensor, Tensor]:
    """Points in [-12, 12] and weights under the normal density: 4-point Gauss-Legendre on fine pieces."""
    point = torch.tensor([0.3399810435848563, 0.8611363115940526], dtype=torch.float64)
    weight = torch.tensor([0.6521451548625461, 0.3478548451374538], dtype=torch.float64)
    half_width = _WIDEST / num_pieces
    centres = (torch.arange(num_pieces, dtype=torch.float64) * 2 + 1) * half_width - _WIDEST
    z = (centres[:, None] + half_width * torch.cat([-point, point])).flatten()
    weights = (half_width * torch.cat([weight, weight])).repeat(num_pieces)
    return z, weights * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
