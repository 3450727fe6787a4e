"""Where an activation is checked: every bit pattern of a 16-bit type, a stratified million of float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from relubench.models.random_streams import stream

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MILLION = 1_000_000
BESIDE = 4
"""Neighbours taken on either side of each special point."""

SPECIAL = (0.0, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 88.72284, 89.0, 103.97, float("inf"))
"""Points with both signs: zeros, corners, where exp overflows or underflows, infinity."""


def every_pattern(dtype: torch.dtype) -> Tensor:
    """All 65,536 values of a 16-bit type, NaNs too; [65536]"""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    return bits.view(dtype)


def stratified(kinks: Sequence[float], seed: int, num_points: int = MILLION) -> Tensor:
    """About `size` float32: equally many of each sign and exponent, spread over the mantissa, and special points.

    The exponents of zero and the subnormals, of infinity and NaN are among them.
    """
    strata = 2 * 256
    num_per_stratum = num_points // strata
    generator = stream(seed, "verify-points")
    step = 2**23 / num_per_stratum
    positions = torch.arange(num_per_stratum, dtype=torch.float64)
    mantissa = ((positions + torch.rand(strata, num_per_stratum, generator=generator, dtype=torch.float64)) * step).to(
        torch.int64
    )
    head = torch.arange(strata, dtype=torch.int64)[:, None] << 23
    bits = (head | mantissa.clamp_(0, 2**23 - 1)).flatten()
    bits = torch.where(bits >= 2**31, bits - 2**32, bits).to(torch.int32)
    return torch.cat([bits.view(torch.float32), special(kinks)])


def special(kinks: Sequence[float]) -> Tensor:
    """Both zeros, the infinities, NaN, the smallest and largest numbers, and what lies beside every corner; float32."""
    corners = np.unique(np.array([sign * point for point in (*SPECIAL, *kinks) for sign in (1, -1)], dtype=np.float32))
    points = [corners]
    above, below = corners, corners
    for _ in range(BESIDE):
        above, below = np.nextafter(above, np.float32(np.inf)), np.nextafter(below, np.float32(-np.inf))
        points += [above, below]
    limits = np.finfo(np.float32)
    tiny = (limits.tiny, limits.smallest_subnormal, limits.max)
    ends = np.array([0.0, -0.0, np.nan, *tiny, *(-point for point in tiny)], dtype=np.float32)
    return torch.from_numpy(np.concatenate([*points, ends]))


def partners(x: Tensor, columns: int, seed: int) -> Tensor:
    """The other columns of a gated activation beside the gate's x: [columns, N], the gate last.

    Of moderate size (1/8 to 8 in absolute value), so that a product tells of the gate and not of its own overflow.
    """
    if columns == 1:
        return x[None]
    generator = stream(seed, "verify-partners")
    magnitude = (torch.rand(columns - 1, len(x), generator=generator) * 6 - 3).exp2()
    sign = torch.randint(0, 2, magnitude.shape, generator=generator) * 2 - 1
    return torch.cat([(magnitude * sign).to(x.dtype), x[None]])


def shuffled(x: Tensor, columns: int, seed: int) -> Tensor:
    """The columns of maxout: each holds all points, in an order of its own; [columns, N]."""
    generator = stream(seed, "verify-order")
    return torch.stack([x, *(x[torch.randperm(len(x), generator=generator)] for _ in range(columns - 1))])
