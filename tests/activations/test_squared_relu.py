"""The slope of squared ReLU is 2x wherever 2x is a number of the type, even where its square is not."""

from __future__ import annotations

import math

import pytest
import torch

from relubench.activations import build, select


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_slope_is_twice_the_input_over_the_whole_range(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    x = torch.exp2(torch.linspace(math.log2(limits.tiny), math.log2(limits.max) - 1.5, 200, dtype=torch.float64)).to(
        dtype
    )
    activation = build(select(["squared_relu"])[0])
    assert activation.gradient is not None
    slopes = activation.gradient(torch.ones_like(x), x if activation.saves == "z" else activation.function(x))
    assert torch.equal(slopes, 2 * x)
    below = activation.gradient(torch.ones_like(x), -x)
    assert (below == 0).all()
