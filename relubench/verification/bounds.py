"""The error that a computation is allowed at each point, and the deviations that come of its own steps and are excused.

The allowance is what the roundings of its steps explain (rounding_effects.py), for a table's kernel as for a user's
own. Two kinds of deviation are named and excused, for both alike: NaN where the steps give NaN in exact arithmetic too,
an infinity times 0; and what lies far out, where one of the steps is beyond the largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.activations.definition import Activation
from relubench.verification.arithmetic import COMPUTED, emulated
from relubench.verification.compare import FORMATS, Array
from relubench.verification.forms import twin
from relubench.verification.regions import regions
from relubench.verification.rounding_effects import rounding_effect

CHUNK = 2**15
"""Points at a time: what is computed of them stays in the cache."""

OFTEN = 0.05
"""From this share of nonlinear points on, the whole binade counts as nonlinear."""
HEAVY_TAIL = 2.0
"""Times the 90 % quantile of a region's largest changes; beyond it lies a pole, as of tan(x) of a large x."""

UNDEFINED = "NaN at an infinity: a product of infinity and 0, or a quotient of two"
OVERFLOWN = "far out, where a power or a multiple of x is beyond the largest number"

LARGEST = {dtype: (2 - 2.0 ** (1 - digits)) * 2.0**greatest for dtype, (digits, _, greatest) in FORMATS.items()}
"""The largest number of each type."""

SINGLE = "at one point alone another slope: a step has a kink there, and autograd takes one slope of it"
AT_LARGEST = "a step lies within its roundings of the largest number, and may round to infinity"


@dataclass(frozen=True, slots=True)
class Allowance:
    """The bounds of values [N] or slopes [C, N]."""

    size: Array
    """Absolute errors that the roundings explain."""
    emulated: Array | None
    """What rounding the result of every step would give; None if nobody asked."""
    overflows: NDArray[np.bool_]
    """Where x is finite, and a rounded step is not, [N]; nowhere if nobody asked for the rounded steps."""
    excuses: dict[str, NDArray[np.bool_]]
    """Reason -> where, [N]: deviations there are named and not counted."""


def forward_allowance(activation: Activation, z: Tensor, dtype: str, *, emulate: bool) -> Allowance:
    """What the values [N] at z [C, N] are allowed."""
    function = twin(activation, z.dtype)

    def steps(chunk: Tensor) -> Tensor:
        with torch.no_grad():
            return function(chunk.flatten())

    return _allowance(steps, z, dtype, emulate)


def backward_allowance(activation: Activation, z: Tensor, dtype: str, *, emulate: bool) -> Allowance:
    """What the slopes [C, N] at z [C, N] are allowed; what they read of the forward pass is rounded as well."""
    function = twin(activation, z.dtype)

    def steps(chunk: Tensor) -> Tensor:
        flat, ones = chunk.flatten(), torch.ones_like(chunk[0])
        if activation.gradient is None:
            with torch.enable_grad():
                x = flat.requires_grad_()
                (slopes,) = torch.autograd.grad(function(x.clone()), x, ones, materialize_grads=True, allow_unused=True)
            return slopes.view_as(chunk)
        with torch.no_grad():
            h = function(flat)
            return activation.gradient(ones, flat if activation.saves == "z" else h, 0).view_as(chunk)

    return _allowance(steps, z, dtype, emulate)


def _allowance(steps: Callable[[Tensor], Tensor], z: Tensor, dtype: str, emulate: bool) -> Allowance:
    chunks = z.to(torch.float64).split(CHUNK, dim=1)
    effects = [rounding_effect(steps, chunk, dtype) for chunk in chunks]
    rounded = [emulated(steps, chunk, dtype) for chunk in chunks if emulate]
    gate = z[-1].to(torch.float64)
    arithmetic = any(effect.arithmetic for effect in effects)
    largest = torch.cat([effect.largest for effect in effects])
    undefined = torch.cat([effect.undefined.reshape(-1, effect.largest.numel()).any(0) for effect in effects])
    size = torch.cat([effect.allowance for effect in effects], dim=-1).numpy()
    nonlinear = torch.cat([effect.nonlinear for effect in effects], dim=-1).numpy()
    return Allowance(
        size=_spread_nonlinear(size, nonlinear, gate.numpy(), dtype) if nonlinear.any() else size,
        emulated=torch.cat([result for result, _ in rounded], dim=-1).numpy() if emulate else None,
        overflows=(torch.cat([is_beyond for _, is_beyond in rounded]) & gate.isfinite()).numpy()
        if emulate
        else np.zeros(len(gate), dtype=bool),
        excuses={
            UNDEFINED: (gate.isinf() & undefined & arithmetic).numpy(),
            AT_LARGEST: _is_at_largest(largest.numpy(), size, dtype),
            OVERFLOWN: (largest > 2.0 ** (FORMATS[dtype][2] + 1) / 8).numpy() & _is_far_out(gate.numpy(), dtype),
        },
    )


def _is_at_largest(largest: Array, size: Array, dtype: str) -> NDArray[np.bool_]:
    """Where the largest step [N] may round to infinity or not, by what the roundings explain of the result."""
    roundings = size.reshape(-1, len(largest)).max(axis=0)
    return np.abs(largest - 2.0 ** (FORMATS[dtype][2] + 1)) <= 2 * roundings


def _spread_nonlinear(size: Array, is_nonlinear: NDArray[np.bool_], x: Array, dtype: str) -> Array:
    """Between two disturbed results of sin(1e4) lies any other: what its neighbours are allowed is allowed there."""
    rows, flags = size.reshape(-1, len(x)).copy(), is_nonlinear.reshape(-1, len(x))
    for region in regions(x, dtype, ()):
        for row, flag in zip(rows, flags, strict=True):
            if not flag[region].any():
                continue
            is_frequent = flag[region].mean() > OFTEN
            places = region if is_frequent else region[flag[region]]
            widest = _widest(row[region][flag[region]]) * (2 if is_frequent else 1)
            row[places] = np.maximum(row[places], widest)
    return rows.reshape(size.shape)


def _widest(sizes: Array) -> float:
    """The widest of what some points of a region are allowed; infinite where few of them do not hold its extremes."""
    widest = float(sizes.max())
    return np.inf if widest > HEAVY_TAIL * np.quantile(sizes, 0.9, method="lower") else widest


def _is_far_out(x: Array, dtype: str) -> NDArray[np.bool_]:
    """Where x, or the cube of x in float32's range, is within a factor of 64 of the largest number."""
    greatest_exponent = FORMATS[dtype][2] + 1
    least_exponent = (
        (FORMATS[COMPUTED][2] + 1) / 3 if greatest_exponent > FORMATS["fp16"][2] + 1 else greatest_exponent - 6.0
    )
    return np.abs(x) >= 2.0**least_exponent / (1 + 2.0**-6)
