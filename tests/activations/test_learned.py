"""Learned parameters and noise: broadcasting, statistics, and what is left in evaluation."""

from __future__ import annotations

import pytest
import torch

from relubench.activations import build, select


def test_prelu_learns_its_slope_member_by_member():
    one = build(select(["prelu"])[0])
    assert one.learned == (0.25,)
    assert one.gradient is None
    z = torch.tensor([[[-2.0, 3.0]], [[-4.0, 5.0]]], dtype=torch.float64)
    slopes = torch.tensor([[[0.1]], [[0.5]]], dtype=torch.float64, requires_grad=True)
    h = one.function(z, learned=(slopes,))
    torch.testing.assert_close(h, torch.tensor([[[-0.2, 3.0]], [[-2.0, 5.0]]], dtype=torch.float64))
    h.sum().backward()
    assert slopes.grad is not None
    assert slopes.grad.flatten().tolist() == [-2.0, -4.0]


@pytest.mark.parametrize("label", ["prelu", "swish"])
def test_gradcheck_of_learned_parameters(label: str):
    one = build(select([label])[0])
    z = torch.tensor([[-3.0, -0.7, 0.4, 2.0]], dtype=torch.float64, requires_grad=True)
    start = torch.tensor(one.learned, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, value: one.function(z, learned=(value,)), (z, start))


def test_swish_at_zero_is_half_of_x():
    one = build(select(["swish:beta=0"])[0])
    z = torch.tensor([-3.0, 4.0])
    assert one.function(z, learned=(torch.tensor(0.0),)).tolist() == [-1.5, 2.0]


def test_nrelu_draws_a_normal_of_variance_sigmoid():
    one = build(select(["nrelu"])[0])
    assert one.draw is not None
    z = torch.full((200_000,), 9.0)
    noise = one.draw(z.shape, torch.Generator().manual_seed(3))
    h = one.function(z, noise=noise)
    # At 9 the clamp is 9 deviations away, so that the moments are those of the noise.
    assert float(h.mean()) == pytest.approx(9.0, abs=0.01)
    assert float(h.var()) == pytest.approx(float(torch.sigmoid(z[0])), rel=0.02)
    at_minus_one = one.function(torch.full((200_000,), -1.0), noise=noise)
    share = float((at_minus_one > 0).double().mean())
    # P(n > 1) for a deviation of sqrt(sigmoid(-1)) = 0.5186.
    assert share == pytest.approx(0.0269, abs=0.002)


def test_nrelu_has_a_finite_slope_where_the_sigmoid_underflows():
    one = build(select(["nrelu"])[0])
    z = torch.tensor([-1e4, -200.0, 0.0, 200.0], requires_grad=True)
    one.function(z, noise=torch.ones(4)).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_nrelu_gradcheck_with_its_noise_held():
    one = build(select(["nrelu"])[0])
    z = torch.tensor([-3.0, -0.7, 0.4, 2.0], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([0.3, 2.5, -0.1, -1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: one.function(z, noise=noise), (z,))


def test_rrelu_draws_slopes_between_its_bounds():
    one = build(select(["rrelu:lower=0.1:upper=0.5"])[0])
    assert one.draw is not None
    z = torch.full((100_000,), -1.0)
    slopes = -one.function(z, noise=one.draw(z.shape, torch.Generator().manual_seed(4)))
    assert 0.1 <= float(slopes.min()) < 0.101
    assert 0.499 < float(slopes.max()) <= 0.5
    assert float(slopes.mean()) == pytest.approx(0.3, abs=0.002)
    assert one.function(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([-0.3, 2.0])


@pytest.mark.parametrize("label", ["nrelu", "rrelu"])
def test_noise_is_a_function_of_the_generator(label: str):
    one = build(select([label])[0])
    assert one.draw is not None
    first, again = (one.draw((4, 5), torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (4, 5)
    half = one.function(torch.ones(4, 5, dtype=torch.float64), noise=first)
    assert half.dtype == torch.float64


def test_xielu_trains_what_softplus_keeps_positive():
    """Huang & Schlag 2024: alpha_p = softplus(p), alpha_n = 1/2 + softplus(n), beta = 1/2."""
    (choice,) = select(["xielu:alpha_p=1.3:alpha_n=0.9"])
    one = build(choice)
    z = torch.tensor([-30.0, -1.5, -1e-4, 0.0, 0.3, 40.0], dtype=torch.float64)
    held = torch.tensor(one.learned, dtype=torch.float64) + 0.1
    positive, negative = torch.log1p(torch.exp(held)).tolist()
    expected = torch.where(z > 0, positive * z**2 + z / 2, (0.5 + negative) * (torch.exp(z) - 1 - z) + z / 2)
    torch.testing.assert_close(one.function(z, learned=tuple(held)), expected, rtol=1e-9, atol=1e-12)
    assert choice.shown(0, one.learned[0]) == pytest.approx(1.3, rel=1e-12)
    assert choice.shown(1, one.learned[1]) == pytest.approx(0.9, rel=1e-12)
    assert choice.shown(1, float(held[1])) == pytest.approx(0.5 + negative, rel=1e-12)


def test_rational_is_a_quotient_of_polynomials_near_leaky_relu():
    one = build(select(["rational"])[0])
    z = torch.cat([torch.linspace(-3, 3, 601), torch.tensor([-1e6, 1e6, 1e12])]).double()
    a, b = one.learned[:6], one.learned[6:]
    above = sum(value * z**power for power, value in enumerate(a))
    below = 1 + sum((value * z**power).abs() for power, value in enumerate(b, start=1))
    torch.testing.assert_close(one.function(z), above / below, rtol=1e-11, atol=1e-13)
    leaky = torch.where(z > 0, z, 0.01 * z)
    assert float((one.function(z) - leaky)[:601].abs().max()) < 0.03


def test_poly_relu_is_a_polynomial_of_relu():
    one = build(select(["poly_relu:a0=0.5:a2=-2"])[0])
    z = torch.tensor([-1e30, -2.0, 0.0, 0.5, 3.0, 1e4], dtype=torch.float64)
    r = z.clamp_min(0)
    torch.testing.assert_close(one.function(z), 0.5 + r / 3 - 2 * r**2 + r**3 / 3, rtol=1e-12, atol=0)
    # The published first values: a third of each power, and no constant.
    assert build(select(["poly_relu"])[0]).learned == (0.0, 1 / 3, 1 / 3, 1 / 3)
    assert float(one.function(torch.tensor(30.0, dtype=torch.float16))) == 7212.0


@pytest.mark.parametrize("label", ["xielu", "rational", "poly_relu"])
def test_gradcheck_of_several_learned_numbers_a_unit(label: str):
    one = build(select([f"{label}:per=unit"])[0])
    assert one.per_unit
    z = torch.tensor([[-3.0, -0.7, 0.4], [2.0, 0.6, -1.2]], dtype=torch.float64, requires_grad=True)
    starts = [torch.full((3,), value, dtype=torch.float64, requires_grad=True) for value in one.learned]
    assert torch.autograd.gradcheck(lambda z, *learned: one.function(z, learned=learned), (z, *starts))
