"""The functions that formulas call: values and slopes against mpmath, at kinks, in tails, in a population."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from relubench.activations import build, select
from relubench.activations.builder import as_function
from relubench.activations.formulas.evaluator import evaluator
from relubench.activations.formulas.formula import parse_formula
from relubench.models.layers.activation import AutogradActivation
from relubench.models.optimizers import Parameter

TRUTH: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "sinc(x)": (mpmath.sincpi, [0.0, 1e-9, 1e-4, 0.01, 0.31, 0.33, 0.5, 1.0, 1.25, 2.0, -3.75, 57.125, -1e4 - 0.25]),
    "sech(x)": (mpmath.sech, [0.0, 1e-8, 0.3, -2.0, 20.0, -87.0]),
    "csch(x)": (mpmath.csch, [1e-3, 0.3, -2.0, 20.0, -60.0]),
    "coth(x)": (mpmath.coth, [1e-3, 0.3, -2.0, 5.0]),
    "lambertw(x)": (mpmath.lambertw, [-0.3678, -0.36, -0.2, -1e-6, 0.0, 1e-8, 0.5, 1.0, math.e, 50.0, 1e6, 1e30]),
    "logaddexp(x, 0)": (lambda x: mpmath.log1p(mpmath.exp(x)), [-90.0, -5.0, 0.0, 3.0, 95.0, 1e4]),
    "hypot(x, 1)": (lambda x: mpmath.sqrt(x * x + 1), [0.0, 1e-3, -3.0, 1e6]),
    "lgamma(x)": (mpmath.loggamma, [0.1, 0.9, 1.7, 30.0]),
    "erfc(x)": (mpmath.erfc, [-3.0, 0.0, 2.5, 8.0]),
    "erfinv(x)": (mpmath.erfinv, [-0.9, 0.0, 0.5]),
    "ndtr(x)": (mpmath.ncdf, [-8.0, -1.0, 0.0, 3.0]),
    "log_ndtr(x)": (lambda x: mpmath.log(mpmath.ncdf(x)), [-9.0, -1.0, 0.0, 3.0]),
    "cbrt(x)": (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), [-8.0, 0.2, 3.0]),
    "xlogy(x, 3)": (lambda x: x * mpmath.log(3), [-2.0, 0.0, 3.0]),
    "atan2(x, 1)": (mpmath.atan, [-3.0, 0.0, 2.0]),
    "expm1(x)": (mpmath.expm1, [-50.0, -1e-6, 0.0, 1.0, 30.0]),
    "exp2(x)": (lambda x: mpmath.power(2, x), [-20.0, 0.0, 1.5]),
    "log2(x) + log10(x)": (lambda x: mpmath.log(x) / mpmath.log(2) + mpmath.log10(x), [0.3, 2.0, 1e5]),
    "celu(x, 2)": (lambda x: x if x > 0 else 2 * mpmath.expm1(x / 2), [-30.0, -1.0, 2.0]),
    "softplus(x, 2)": (lambda x: mpmath.log1p(mpmath.exp(2 * x)) / 2, [-30.0, -1.0, 2.0]),
    "normpdf(x)": (mpmath.npdf, [-3.0, 0.0, 1.0]),
    "logsigmoid(x)": (lambda x: -mpmath.log1p(mpmath.exp(-x)), [-30.0, 0.0, 30.0]),
    "gelu_tanh(x)": (
        lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
        [-2.0, 0.0, 1.5],
    ),
}


def slope_of(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    h = function(x)
    (slope,) = torch.autograd.grad(h.sum(), x)
    return h.detach(), slope


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", TRUTH)
def test_values_and_slopes_are_mpmath_s(text: str, dtype: torch.dtype):
    function, points = TRUTH[text]
    x = torch.tensor(points, dtype=dtype)
    values, slopes = slope_of(evaluator(parse_formula(text)), x)
    with mpmath.workdps(40):
        # The points as they are in this type.
        true = [mpmath.mpf(point) for point in x.tolist()]
        expected = [float(mpmath.re(function(point))) for point in true]
        sloped = [float(mpmath.re(mpmath.diff(function, point))) for point in true]
    rtol = 2e-5 if dtype == torch.float32 else 2e-11
    torch.testing.assert_close(values, torch.tensor(expected, dtype=dtype), rtol=rtol, atol=rtol / 100)
    torch.testing.assert_close(slopes, torch.tensor(sloped, dtype=dtype), rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lambertw_at_its_end(dtype: torch.dtype):
    end = torch.tensor([-math.exp(-1), -0.5, math.inf], dtype=dtype)
    values, slopes = slope_of(evaluator(parse_formula("lambertw(x)")), end)
    assert values[0] == pytest.approx(-1, abs=1e-3 if dtype == torch.float32 else 1e-7)
    assert slopes[0] > 1e3
    assert values[1].isnan()
    assert values[2] == math.inf


@pytest.mark.parametrize(
    "text",
    [
        "x if x > 0 else exp(x) - 1",
        "max(0, x) + min(0, exp(x) - 1)",
        "max(0, x) + min(0, 0.5*(e^x - 1))",
        "where(x < 0, sinh(x)/cosh(x), x)",
        "1/(1 + exp(-x))",
        "x/(1 + e^{-x})",
        "where(x > 0, log(1 + x), -log(1 - x))",
        "where(x > 0, sqrt(x), x)",
        "where(x > 0, x, 2^(-x) - 1)*0 + x",
        "hypot(x, 0)",
        "sinc(x)",
        "x*sech(x)",
        "logaddexp(x, -x)",
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_slope_is_nan_where_the_value_is_finite(text: str, dtype: torch.dtype):
    """A branch that is not taken overflows at 800, has an infinite slope at 0 or at 1."""
    x = torch.tensor([-800.0, -100.0, -1.0, 0.0, 1.0, 100.0, 800.0], dtype=dtype)
    values, slopes = slope_of(evaluator(parse_formula(text)), x)
    assert slopes[values.isfinite()].isfinite().all()


@pytest.mark.parametrize("base", ["e", "2", "0.5", "10"])
def test_the_guarded_power_is_torch_s_to_the_bit(base: str):
    x = torch.linspace(-5, 5, 101)
    mine = slope_of(evaluator(parse_formula(f"{base}**x")), x)
    number = math.e if base == "e" else float(base)
    theirs = slope_of(lambda x: number**x, x)
    assert all(map(torch.equal, mine, theirs))


@pytest.mark.parametrize("name", ["exp", "expm1", "sinh", "cosh"])
def test_the_guarded_functions_are_torch_s_to_the_bit(name: str):
    x = torch.linspace(-5, 5, 101)
    mine = slope_of(evaluator(parse_formula(f"{name}(x)")), x)
    assert all(map(torch.equal, mine, slope_of(getattr(torch, name), x)))


LEARNED = [
    "x*sigmoid(b*x), b~1.3",
    "max(x,0) + a*min(x,0), a~0.25",
    "x if x > 0 else a*(exp(b*x) - 1), a~1, b~0.7",
    "x + sin(a*x)**2/a, a~1.5",
    "(p-q)*x*sigmoid(b*(p-q)*x) + q*x, p~1.2, q~-0.8, b~1",
    "where(x>0, a*x**2 + b*x, c*(expm1(min(x,0)) - x) + b*x), a~0.8, b=0.5, c~0.8",
    "elu(x, a) + celu(x, b), a~1, b~2",
    "softplus(x, b), b~2",
    "hardtanh(x, l, h) + 0.1*x, l~-1.05, h~1.15",
    "leaky_relu(x, s) + hardshrink(x, 0.5) + softshrink(x, s), s~0.3",
    "threshold(x, 0.2, v) + hypot(x, v) + logaddexp(x, v), v~0.3",
    "abs(x)**p*sign(x), p~1.5",
    "b**x, b~1.5",
    "clip(x, -a, a) + x/(1 + |a*x|), a~1.05",
]


@pytest.mark.parametrize("text", LEARNED)
def test_learned_parameters_pass_gradcheck_and_lie_along_a_population(text: str):
    (choice,) = select([text])
    activation = build(choice)
    assert choice.learned == len(activation.learned) > 0
    z = torch.tensor([-3.1, -0.72, -0.13, 0.41, 0.77, 2.3], dtype=torch.float64)
    starts = [torch.tensor([start], dtype=torch.float64, requires_grad=True) for start in activation.learned]
    assert torch.autograd.gradcheck(
        lambda z, *learned: activation.function(z, learned=learned), (z.clone().requires_grad_(), *starts)
    )
    torch.testing.assert_close(activation.function(z), activation.function(z, learned=tuple(starts)))
    # Two members with parameters of their own, [P, B, F].
    scales = (1.0, 1.1)
    stack = [
        Parameter(str(place), torch.tensor(scales, dtype=torch.float64).view(2, 1, 1) * start, False)
        for place, start in enumerate(activation.learned)
    ]
    layer = AutogradActivation(activation, -1, stack, None)
    h = layer.forward(torch.stack([z, z])[:, None], training=True)
    for place, scale in enumerate(scales):
        alone = activation.function(z, learned=tuple(scale * start for start in starts))
        torch.testing.assert_close(h[place, 0], alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("text", [*TRUTH, *LEARNED, "heaviside(x)*x", "round(x)+trunc(x)+ceil(x)+floor(x)+x"])
def test_the_type_and_the_shape_are_kept(text: str, dtype: torch.dtype):
    (choice,) = select([text])
    z = torch.full((2, 3), 0.4, dtype=dtype)
    h = as_function(build(choice), dtype)(z)
    assert h.dtype == dtype
    assert h.shape == z.shape


def test_whole_numbers_and_steps():
    x = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5, 2.5])
    expected = {
        "floor(x) + 0*x": [-2, -1, 0, 0, 1, 2],
        "ceil(x) + 0*x": [-1, 0, 0, 1, 2, 3],
        "round(x) + 0*x": [-2, 0, 0, 0, 2, 2],
        "trunc(x) + 0*x": [-1, 0, 0, 0, 1, 2],
        "heaviside(x) + 0*x": [0, 0, 0.5, 1, 1, 1],
        "heaviside(x, 1) + 0*x": [0, 0, 1, 1, 1, 1],
        "torch.heaviside(x, torch.tensor(0.0)) + 0*x": [0, 0, 0, 1, 1, 1],
    }
    for text, values in expected.items():
        assert evaluator(parse_formula(text))(x).tolist() == values
