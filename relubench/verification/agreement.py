"""A user's own code against itself and against another's: do its slopes belong to its values, and is it as accurate?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.activations import Choice, build
from relubench.activations.checks.differences import numerical_slopes
from relubench.activations.definition import Activation
from relubench.verification.compare import Array, errors, ulp_size
from relubench.verification.forms import backward_forms, forward_forms
from relubench.verification.judge import About, VerifyRow
from relubench.verification.reference import own_slopes, own_values, reference_of
from relubench.verification.regions import largest_by_region

TOLERANCE = 1e-4
"""Relative difference from which on a slope is not that of the values; differences are good to 1e-6 and better."""
CONSTANTS = 16.0
"""Roundings of float32 within which a formula may differ in float64: its constants are typed to seven digits."""
COARSE = 1 / 8
"""Or this share of what its own type's roundings explain, if that is more."""
MANY = 0.9
"""Of the places at which slopes are wrong: from this share on flat values make a straight-through estimator."""


def inherited(against: Choice, about: About, z: Tensor, true: Array) -> Array:
    """The errors of the other's own kernel in this type, the largest of each region, at the true values' scale."""
    kernel = build(against)
    reference = reference_of(against, kernel, about.dtype, None)
    x = z.to(torch.float64).numpy()
    if about.pass_ == "forward":
        _, computed = next(forward_forms(kernel, z, compiled=False))
        off = errors(computed, reference.values(x), about.dtype)
    else:
        _, slopes, _ = next(backward_forms(kernel, z, compiled=False))
        off = errors(slopes[0], reference.slopes(x)[0], about.dtype)
    ulp = np.where(np.isfinite(off.ulp), off.ulp, 0.0)
    return largest_by_region(ulp, x[-1], about.dtype) * ulp_size(true, about.dtype)


@dataclass(frozen=True, slots=True)
class InFloat64:
    """A user's values or slopes in float64 beside the other's [N], and what roundings of two types explain there."""

    own: Array
    true: Array
    allowed: Array
    allowed_fp32: Array
    x: Array
    excused: NDArray[np.bool_]


def same_function(row: VerifyRow, found: InFloat64) -> VerifyRow:
    """The row, 'wrong' where the function in float64 already differs from the other: no rounding explains that."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.own - found.true)
        small = np.maximum(CONSTANTS * found.allowed_fp32, COARSE * found.allowed)
        wrong = np.isfinite(found.own) & np.isfinite(found.true) & (apart > small) & ~found.excused
    if not wrong.any():
        return row
    share = np.where(wrong, apart / (small + np.abs(found.true) + np.finfo(np.float64).tiny), 0.0)
    place = int(np.argmax(share))
    message = (
        f"in float64 it gives {found.own[place]:.9g} at x = {found.x[place]:.9g}, where {row.against} is "
        f"{found.true[place]:.9g}: another function, not rounding ({int(wrong.sum()):,} of {len(wrong):,} places)"
    )
    return replace(
        row, outcome="wrong", wrong=max(row.wrong, int(wrong.sum())), at=float(found.x[place]), message=message
    )


def backward_pass_of_values(row: VerifyRow, activation: Activation) -> VerifyRow:
    """The row, 'wrong' or 'straight-through' where the slopes in float64 are not those of the values."""
    x = _places()
    values, slopes = own_values(activation, row.dtype), own_slopes(activation, row.dtype)
    true, error, reliable = numerical_slopes(values, x)
    handed = slopes(x)
    reliable &= _in_full_precision(values, x)
    apart = (handed - true).abs()
    scale = float(true[reliable].abs().amax()) if reliable.any() else 0.0
    small = TOLERANCE * torch.maximum(handed.abs(), true.abs()) + 10 * error + 1e-9 * scale
    wrong = (reliable & (apart > small)) | (handed.isnan() & values(x).isfinite())
    if not wrong.any():
        return row
    flat = reliable & (true == 0)
    place = int(torch.where(wrong, apart.nan_to_num(torch.inf), -1.0).argmax())
    shown = f"slope {float(handed[place]):.6g} at x = {float(x[place]):.6g}"
    count = int(wrong.sum())
    if handed[place].isnan():
        why = f"its value is {float(values(x)[place]):.6g}"
    elif bool(flat[reliable].all()):
        message = f"a straight-through estimator: its values are flat, its slope is not; {shown}"
        return replace(row, outcome="straight-through", wrong=0, message=message)
    elif bool((wrong & flat).sum() >= MANY * wrong.sum()):
        why = "its values are flat there: a straight-through estimator, or a mask that is missing"
    else:
        why = f"the differences of its values give {float(true[place]):.6g}"
    message = f"{shown}, where {why} ({count:,} of {int(reliable.sum()):,} places)"
    return replace(row, outcome="wrong", wrong=max(count, row.wrong), at=float(x[place]), message=message)


def _places() -> Tensor:
    """Where slopes are compared: evenly over the pre-activations of networks, and by orders of magnitude; float64."""
    generator = torch.Generator().manual_seed(0)
    even = torch.rand(2000, generator=generator, dtype=torch.float64) * 20 - 10
    sizes = 10.0 ** (torch.rand(500, generator=generator, dtype=torch.float64) * 7 - 5)
    whole = torch.arange(-6, 7, dtype=torch.float64)
    return torch.cat([even, sizes, -sizes, whole])


def _in_full_precision(values: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Where differences mean something; bool [N]."""
    # A function that computes in float32 inside is a staircase: flat to the smallest steps, steep to larger ones.
    fine = (values(x) == values(x * (1 + 2.0**-40))) & (values(x) == values(x * (1 - 2.0**-40)))
    coarse = (values(x) == values(x * (1 + 2.0**-14))) & (values(x) == values(x * (1 - 2.0**-14)))
    return ~fine | coarse
