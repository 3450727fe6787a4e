"""Every row's values and slopes, from autograd and in closed form, against 40-digit arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from relubench.activations import ACTIVATIONS, build, select
from relubench.activations.builder import as_function
from relubench.activations.definition import Activation
from tests.activations.reference import CORNERS, DIFFERENTIATED, ELEMENTWISE, GATES, mpf, slope

POINTS = [
    -40.0,
    -20.5,
    -8.3,
    -5.1,
    -2.7,
    -1.2,
    -0.6,
    -0.05,
    -1e-4,
    1e-4,
    0.05,
    0.3,
    0.9,
    1.7,
    2.9,
    4.4,
    7.5,
    19.0,
    33.0,
]
CLOSED = [label for label in ELEMENTWISE if build(select([label])[0]).gradient is not None]
GATED = [*GATES, "maxout", "maxout:pieces=3"]


def activation(label: str) -> Activation:
    return build(select([label])[0])


def points() -> Tensor:
    return torch.tensor(POINTS, dtype=torch.float64)


def by_autograd(label: str, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    as_function(activation(label))(z).sum().backward()
    assert z.grad is not None
    return z.grad


def by_gradient(one: Activation, z: Tensor) -> Tensor:
    assert one.gradient is not None
    saved = z if one.saves == "z" else one.function(z)
    before = saved.clone()
    found = one.gradient(torch.full_like(z, 1.0), saved)
    assert torch.equal(saved, before), "the gradient must leave what was saved alone"
    return found


def test_the_reference_covers_every_row():
    names = {label.split(":")[0] for label in [*ELEMENTWISE, *GATED]}
    assert names == set(ACTIVATIONS)


@pytest.mark.parametrize("label", ELEMENTWISE)
def test_values(label: str):
    exact = torch.tensor([float(ELEMENTWISE[label](mpf(x))) for x in POINTS], dtype=torch.float64)
    torch.testing.assert_close(as_function(activation(label))(points()), exact, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("label", DIFFERENTIATED)
def test_slopes(label: str):
    exact = torch.tensor([slope(ELEMENTWISE[label], x) for x in POINTS], dtype=torch.float64)
    torch.testing.assert_close(by_autograd(label, points()), exact, rtol=1e-8, atol=1e-13)
    if label in CLOSED:
        torch.testing.assert_close(by_gradient(activation(label), points()), exact, rtol=1e-8, atol=1e-13)


def test_the_straight_through_gradient_passes_everywhere():
    """Also where the function is 0 and flat, and at infinity, by either way."""
    z, grad = torch.tensor([-math.inf, -2.0, -0.0, 0.0, 3.0, math.inf]), torch.arange(6.0)
    straight = activation("straight_through_relu")
    leaf = z.clone().requires_grad_()
    h = straight.function(leaf)
    assert torch.equal(h, z.relu())
    assert torch.equal(torch.autograd.grad(h, leaf, grad)[0], grad)
    assert straight.gradient is not None and torch.equal(straight.gradient(grad.clone(), z.relu()), grad)


@pytest.mark.parametrize("label", CORNERS)
def test_slopes_at_kinks(label: str):
    at = torch.tensor([x for x, _ in CORNERS[label]], dtype=torch.float64)
    expected = torch.tensor([value for _, value in CORNERS[label]], dtype=torch.float64)
    torch.testing.assert_close(by_autograd(label, at), expected)
    torch.testing.assert_close(by_gradient(activation(label), at), expected)


@pytest.mark.parametrize("label", CLOSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_closed_form_is_autograd_scaled_by_the_incoming_gradient(label: str, dtype: torch.dtype):
    torch.manual_seed(0)
    one = activation(label)
    z = (torch.randn(3, 50, dtype=dtype) * 4).requires_grad_()
    incoming = torch.randn(3, 50, dtype=dtype)
    h = one.function(z)
    (expected,) = torch.autograd.grad(h, z, incoming)
    assert one.gradient is not None
    found = one.gradient(incoming.clone(), (z if one.saves == "z" else h).detach())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("label", [label for label in DIFFERENTIATED if "nrelu" not in label])
def test_gradcheck(label: str):
    z = torch.tensor([-5.3, -2.2, -0.4, 0.7, 2.6, 5.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(as_function(activation(label)), (z,))


@pytest.mark.parametrize("label", CLOSED)
def test_in_place_and_into_storage_agree_with_the_function(label: str):
    one = activation(label)
    z = torch.cat([points(), torch.tensor([-1.0, 0.0, 1.0, 6.0, 1e4, -1e4], dtype=torch.float64)]).float()
    h = one.function(z)
    assert (one.inplace is not None) <= (one.saves == "h")
    if one.inplace is not None:
        over = z.clone()
        assert one.inplace(over).data_ptr() == over.data_ptr()
        assert torch.equal(over, h)
    assert one.out is not None
    storage = torch.full_like(z, math.nan)
    before = z.clone()
    assert one.out(z, storage).data_ptr() == storage.data_ptr()
    assert torch.equal(storage, h)
    assert torch.equal(z, before)


@pytest.mark.parametrize("label", ELEMENTWISE)
def test_the_function_leaves_its_input_alone(label: str):
    z = points()
    h = as_function(activation(label))(z)
    assert torch.equal(z, points())
    assert h.data_ptr() != z.data_ptr()


@pytest.mark.parametrize("label", ELEMENTWISE)
def test_large_inputs_stay_finite_in_float32(label: str):
    # The cube of 1e15 is no number of float32.
    largest = 1e12 if label == "poly_relu" else 1e15
    z = torch.tensor([-largest, -1e4, -200.0, -90.0, 90.0, 200.0, 1e4, largest])
    assert as_function(activation(label))(z).isfinite().all()
    assert by_autograd(label, z).isfinite().all()
    if label in CLOSED:
        assert by_gradient(activation(label), z).isfinite().all()


@pytest.mark.parametrize("label", CLOSED)
def test_nan_is_not_swallowed(label: str):
    """A diverged network must look diverged."""
    nan = torch.full((40,), math.nan)
    assert activation(label).function(nan).isnan().all()


@pytest.mark.parametrize(
    ("label", "low", "high"),
    [
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("relu", 0.0, math.inf),
        ("softplus", 0.0, math.inf),
        ("elu", -1.0, math.inf),
    ],
)
def test_infinity_goes_to_the_limit(label: str, low: float, high: float):
    found = activation(label).function(torch.tensor([-math.inf, math.inf]))
    assert found.tolist() == [low, high]


def test_exact_zeros_says_what_is_found():
    # In float32 GELU's 1 + erf cancels to 0 below -5.4: rounding, not sparsity.
    grid = torch.linspace(-6, 6, 49, dtype=torch.float64)
    for label in CLOSED:
        one = activation(label)
        h = one.function(grid)
        assert one.exact_zeros == bool(((h[1:] == 0) & (h[:-1] == 0)).any()), label


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dim", [-1, 1, -3])
def test_gated_values_and_slopes(name: str, dim: int):
    """The second half is the gate; along any dimension."""
    torch.manual_seed(1)
    one = activation(name)
    a, b = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    z = torch.cat([a[None], b[None]], dim=dim).requires_grad_()
    gate = torch.tensor([float(GATES[name](mpf(x))) for x in b.flatten().tolist()], dtype=torch.float64).reshape(
        b.shape
    )
    h = one.function(z, dim=dim)
    torch.testing.assert_close(h, (a * gate)[None])
    assert torch.autograd.gradcheck(lambda z: one.function(z, dim=dim), (z,))
    check_many_columns(one, z, h, dim)


@pytest.mark.parametrize("pieces", [2, 3, 5])
@pytest.mark.parametrize("dim", [-1, 1, -3])
def test_maxout_takes_the_largest_piece(pieces: int, dim: int):
    torch.manual_seed(2)
    one = activation(f"maxout:pieces={pieces}")
    parts = torch.randn(pieces, 1, 2, 3, 4, dtype=torch.float64)
    z = torch.cat(list(parts), dim=dim).requires_grad_()
    h = one.function(z, dim=dim)
    assert one.inputs_per_unit == pieces
    torch.testing.assert_close(h, parts.amax(dim=0))
    check_many_columns(one, z, h, dim)


def test_maxout_gives_a_tie_to_one_piece():
    one = activation("maxout")
    z = torch.ones(1, 6, requires_grad=True)
    one.function(z).sum().backward()
    assert z.grad is not None and one.gradient is not None
    assert z.grad.tolist() == [[1, 1, 1, 0, 0, 0]]
    assert one.gradient(torch.ones(1, 3), z.detach()).tolist() == [[1, 1, 1, 0, 0, 0]]


def check_many_columns(one: Activation, z: Tensor, h: Tensor, dim: int) -> None:
    """Closed form and `out` against autograd and the function, along `dim`."""
    incoming = torch.randn_like(h)
    (expected,) = torch.autograd.grad(h, z, incoming)
    assert one.gradient is not None and one.out is not None
    torch.testing.assert_close(one.gradient(incoming.clone(), z.detach(), dim), expected)
    storage = torch.full_like(h, math.nan).detach()
    assert torch.equal(one.out(z.detach(), storage, dim), h.detach())
