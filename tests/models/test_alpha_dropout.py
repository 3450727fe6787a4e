"""AlphaDropout against PyTorch's own formula and by its moments; what it does not touch."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from relubench.errors import UsageError
from relubench.models.layers.base import AlphaDropout
from relubench.models.optimizers import Optimizer
from relubench.models.random_streams import MemberNoise, stream
from specs import runs


def layer(probability: float, seed: int = 0) -> AlphaDropout:
    return AlphaDropout(probability, MemberNoise([seed], "dropout", 0, "cpu"))


@pytest.mark.parametrize("probability", [0.05, 0.5])
def test_it_is_pytorchs_formula_with_the_member_s_own_mask(probability: float) -> None:
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    h = layer(probability).forward(x, training=True)
    mask = torch.empty(50, 40).bernoulli_(1 - probability, generator=stream(0, "dropout", 0))
    # As in torch/aten/native/Dropout.cpp.
    alpha = 1.7580993408473766
    a = 1 / ((alpha**2 * probability + 1) * (1 - probability)) ** 0.5
    torch.testing.assert_close(h, x * mask * a + (mask - 1) * alpha * a + alpha * a * probability)


def test_it_keeps_mean_and_variance_of_a_standard_input() -> None:
    h = layer(0.3).forward(torch.randn(1000, 500, generator=torch.Generator().manual_seed(2)), training=True)
    assert abs(float(h.mean())) < 0.01 and abs(float(h.var()) - 1) < 0.01


def test_its_gradient_is_autograds_and_an_evaluation_passes_it_by() -> None:
    x = torch.randn(7, 9, dtype=torch.float32, generator=torch.Generator().manual_seed(3)).requires_grad_(True)
    drop, grad = layer(0.4), torch.randn(7, 9, generator=torch.Generator().manual_seed(4))
    h = drop.forward(x, training=True)
    (expected,) = torch.autograd.grad(h, x, grad)
    # It has no parameters: no optimizer is asked for anything.
    torch.testing.assert_close(drop.backward(grad.clone(), cast("Optimizer", None), first=False), expected)
    assert drop.forward(x, training=False) is x


def test_a_kind_needs_a_dropout_and_enters_the_id() -> None:
    with pytest.raises(UsageError, match=r"dropout_kind \(=alpha\) belongs to a dropout above 0"):
        runs("selu", model={"dropout_kind": "alpha"})
    _, (zero,) = runs("selu", model={"dropout": 0.1})
    _, (alpha,) = runs("selu", model={"dropout": 0.1, "dropout_kind": "alpha"})
    assert zero.id != alpha.id and "dropout_kind" not in zero.to_json()
