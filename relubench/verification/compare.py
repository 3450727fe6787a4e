"""Errors in units in the last place of the true value, and which of them are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

FORMATS = {"fp32": (24, -126, 127), "fp16": (11, -14, 15), "bf16": (8, -126, 127)}
"""Binary digits, least and greatest exponent of a normal number."""


@dataclass(frozen=True, slots=True)
class UlpErrors:
    """The errors of computed values against true ones, each [N]."""

    ulp: Array
    absolute: Array
    wrong_class: NDArray[np.bool_]
    """NaN, infinity or a finite number where it should be another of these."""


def ulp_size(true: Array, dtype: str) -> Array:
    """The distance of neighbouring numbers of the type at the true value; that of the subnormals below them."""
    digits, least_exponent, greatest_exponent = FORMATS[dtype]
    _, exponent = np.frexp(np.where(np.isfinite(true), true, 1.0))
    return np.ldexp(1.0, np.clip(exponent - 1, least_exponent, greatest_exponent) - (digits - 1))


def errors(computed: Tensor, true: Array, dtype: str, allowance: Array | float = 0.0) -> UlpErrors:
    """How far `computed` [N] of that type is from `true` [N].

    A value beyond the largest number, or within `allowance` of it, rounds to infinity: infinity counts as the number
    that would come next.
    """
    digits, _, greatest = FORMATS[dtype]
    values = computed.detach().cpu().to(torch.float64).numpy()
    next_number = np.ldexp(1.0, greatest + 1)
    is_infinite = np.isinf(true)
    # Where the true value would round to infinity, or nearly so, infinity is an answer like any other.
    may_overflow = ~is_infinite & (np.abs(true) + allowance >= next_number * (1 - 2.0 ** (2 - digits)))
    values_or_next = np.where(np.isinf(values) & may_overflow, np.copysign(next_number, values), values)
    clipped = np.where(may_overflow, np.clip(true, -next_number, next_number), true)
    with np.errstate(invalid="ignore"):
        is_equal = (np.isnan(values_or_next) & np.isnan(clipped)) | (values_or_next == clipped)
        absolute = np.where(is_equal, 0.0, np.abs(values_or_next - clipped))
        ulp = absolute / ulp_size(clipped, dtype)
    is_wrong_class = ~is_equal & ~(np.isfinite(values_or_next) & np.isfinite(clipped))
    return UlpErrors(np.where(is_wrong_class, np.inf, ulp), np.where(is_wrong_class, np.inf, absolute), is_wrong_class)


def differing(a: Tensor, b: Tensor) -> int:
    """How many entries differ; all NaNs are one, and so are both zeros."""
    return int(((a != b) & ~(a.isnan() & b.isnan())).sum())


def nearest(true: Array, dtype: str) -> Array:
    """The number of the type that is nearest to each true value."""
    return torch.from_numpy(true).to(_KINDS[dtype]).to(torch.float64).numpy()


_KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
