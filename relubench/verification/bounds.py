"""What a computation is allowed at each point, and which departures are those of its own steps and not counted.

The allowance is what the roundings of its steps explain (arithmetic.py), for a table's kernel as for a user's own. Two
kinds of departure are named and excused, for both alike: NaN where the steps give NaN in exact arithmetic too, an
infinity times 0; and what lies far out, where one of the steps is beyond the largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.activations.definition import Activation
from relubench.verification.arithmetic import COMPUTED, emulated, explained
from relubench.verification.compare import FORMATS, Array
from relubench.verification.forms import twin

CHUNK = 2**15
"""Points at a time: what is computed of them stays in the cache."""

UNDEFINED = "NaN at an infinity: a product of infinity and 0, or a quotient of two"
OVERFLOWN = "far out, where a power or a multiple of x is beyond the largest number"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Of values [N] or slopes [C, N]."""

    size: Array
    """Absolute errors that the roundings explain."""
    emulated: Array | None
    """What rounding the result of every step would give; None if nobody asked."""
    excuses: dict[str, NDArray[np.bool_]]
    """Why -> where, [N]: departures there are named and not counted."""


def forward_allowance(activation: Activation, z: Tensor, dtype: str, *, emulate: bool) -> Allowance:
    """What the values [N] at z [C, N] are allowed."""
    function = twin(activation, z.dtype)

    def steps(part: Tensor) -> Tensor:
        with torch.no_grad():
            return function(part.flatten())

    return _allowance(steps, z, dtype, emulate)


def backward_allowance(activation: Activation, z: Tensor, dtype: str, *, emulate: bool) -> Allowance:
    """What the slopes [C, N] at z [C, N] are allowed; what they read of the forward pass is rounded as well."""
    function = twin(activation, z.dtype)

    def steps(part: Tensor) -> Tensor:
        flat, ones = part.flatten(), torch.ones_like(part[0])
        if activation.gradient is None:
            with torch.enable_grad():
                x = flat.requires_grad_()
                (slopes,) = torch.autograd.grad(function(x.clone()), x, ones, materialize_grads=True, allow_unused=True)
            return slopes.view_as(part)
        with torch.no_grad():
            h = function(flat)
            return activation.gradient(ones, flat if activation.saves == "z" else h, 0).view_as(part)

    return _allowance(steps, z, dtype, emulate)


def _allowance(steps: Callable[[Tensor], Tensor], z: Tensor, dtype: str, emulate: bool) -> Allowance:
    chunks = z.to(torch.float64).split(CHUNK, dim=1)
    found = [explained(_computation(steps, part), dtype, part.shape[1]) for part in chunks]
    rounded = [emulated(_computation(steps, part), dtype) for part in chunks if emulate]
    gate = z[-1].to(torch.float64)
    roundings = max(part.roundings for part in found)
    largest = torch.cat([part.largest for part in found]) if roundings else torch.zeros_like(gate)
    undefined = torch.cat([part.undefined.reshape(-1, part.largest.numel()).any(0) for part in found])
    return Allowance(
        size=torch.cat([part.allowance for part in found], dim=-1).numpy(),
        emulated=torch.cat(rounded, dim=-1).numpy() if emulate else None,
        excuses={
            UNDEFINED: (gate.isinf() & undefined & (roundings > 0)).numpy(),
            OVERFLOWN: (largest > 2.0 ** (FORMATS[dtype][2] + 1) / 8).numpy() & _far(gate.numpy(), dtype),
        },
    )


def _computation(steps: Callable[[Tensor], Tensor], part: Tensor) -> Callable[[], Tensor]:
    """The steps on these points, anew at every call: a user's code may write over them."""
    return lambda: steps(part.contiguous().clone())


def _far(x: Array, dtype: str) -> NDArray[np.bool_]:
    """Where x, or the cube of x in float32's range, is within a factor of 8 of the largest number."""
    greatest = FORMATS[dtype][2] + 1
    least = (FORMATS[COMPUTED][2] + 1) / 3 if greatest > FORMATS["fp16"][2] + 1 else greatest - 3.0
    return np.abs(x) >= 2.0**least / (1 + 2.0**-6)
