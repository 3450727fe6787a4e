"""Slopes from differences: right away from kinks, and not relied on at them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from relubench.activations import build, select
from relubench.activations.builder import as_function
from relubench.activations.checks.finite_differences import numerical_slopes


def places() -> Tensor:
    sizes = 10.0 ** torch.linspace(-9, 4, 261, dtype=torch.float64)
    return torch.cat([-sizes.flip(0), torch.zeros(1, dtype=torch.float64), sizes])


def differentiated(label: str, x: Tensor) -> tuple[Tensor, Tensor]:
    function = as_function(build(select([label])[0]))
    z = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(function(z).sum(), z)
    return function(x), slopes


@pytest.mark.parametrize(
    "label",
    [
        "tanh",
        "gelu",
        "mish",
        "softplus:beta=300",
        "celu:alpha=0.004",
        "swish:beta=70",
        "sin(11*x)",
        "x**5",
        "exp(-x*x)",
    ],
)
def test_slopes_of_smooth_functions(label: str) -> None:
    x = places()
    function = as_function(build(select([label])[0]))
    slopes, error, reliable = numerical_slopes(function, x)
    _, true = differentiated(label, x)
    assert reliable.double().mean() > 0.99
    off = (slopes - true).abs()[reliable]
    assert (off <= 10 * error[reliable] + 1e-12).all()
    assert (off <= 1e-5 * true.abs()[reliable] + 1e-9).all()


@pytest.mark.parametrize(
    ("label", "kinks"),
    [("relu", [0.0]), ("hardtanh", [-1.0, 1.0]), ("where(x < 2.5, x*x, 3*x)", [2.5]), ("abs(x - 0.75)**1.0", [0.75])],
)
def test_a_kink_is_not_relied_on_and_its_neighbours_are(label: str, kinks: list[float]) -> None:
    x = torch.tensor([k + d for k in kinks for d in (0.0, 1e-3, -1e-3)], dtype=torch.float64)
    slopes, _, reliable = numerical_slopes(as_function(build(select([label])[0])), x)
    assert reliable.tolist() == [False, True, True] * len(kinks)
    _, true = differentiated(label, x)
    assert torch.allclose(slopes[reliable], true[reliable], rtol=1e-9)


def test_what_is_not_finite_is_not_relied_on() -> None:
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 800.0, -1.0], dtype=torch.float64)
    _, _, reliable = numerical_slopes(lambda z: torch.log(torch.exp(z)), x)
    assert reliable.tolist() == [False, False, False, False, True]


def test_a_step_is_flat_away_from_its_edge() -> None:
    x = torch.tensor([-3.0, -0.1, 0.0, 0.01, 50.0], dtype=torch.float64)
    slopes, _, reliable = numerical_slopes(torch.sign, x)
    assert reliable.tolist() == [True, True, False, True, True]
    assert (slopes[reliable] == 0).all()


def test_what_cancels_is_flat_to_steps_below_its_rounding() -> None:
    """Relative to 0 the steps are tiny: the function's own rounding, not its values, says that nothing is seen."""
    x = torch.tensor([0.0, 1e-12], dtype=torch.float64)
    slopes, error, reliable = numerical_slopes(lambda z: (z + 1) - 1, x, torch.full((2,), 2.0**-53))
    assert reliable.tolist() == [True, True]
    assert ((slopes - 1).abs() <= 10 * error + 1e-12).all()
    # Of a function that rounds nothing, what is flat near 0 is flat.
    slopes, _, reliable = numerical_slopes(lambda z: torch.where(z.abs() > 1e-6, z, 0.0), x, 0.0)
    assert reliable.tolist() == [True, True]
    assert slopes.tolist() == [0.0, 0.0]
