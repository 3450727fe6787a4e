"""Functions that formulas call and torch lacks, or whose slope in torch is wrong or NaN somewhere; elementwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from relubench.system.device_kinds import has_float64

Elementwise = Callable[[Tensor], Tensor]
Number = Tensor | float


class _WithSlope(torch.autograd.Function):
    """h = value(x) with slope(x, h); where nothing flows back, nothing comes out, even where the slope is infinite."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Elementwise, slope: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return value(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, slope = inputs
        ctx.save_for_backward(x, output)
        ctx.slope = slope

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, h = ctx.saved_tensors
        (grad,) = grads
        return torch.where(grad == 0, grad, grad * ctx.slope(x, h)), None, None


def with_slope(value: Elementwise, slope: Callable[[Tensor, Tensor], Tensor]) -> Elementwise:
    """The function whose slope is given: of x and the value."""
    return lambda x: _WithSlope.apply(x, value, slope)  # pyright: ignore[reportReturnType]


# In where(x > 0, x, exp(x) - 1) the branch that is not taken overflows: torch then gives 0 * infinity.
exp = with_slope(torch.exp, lambda x, h: h)
exp2 = with_slope(torch.exp2, lambda x, h: h * math.log(2))
expm1 = with_slope(torch.expm1, lambda x, h: h + 1)
sinh = with_slope(torch.sinh, lambda x, h: torch.cosh(x))
cosh = with_slope(torch.cosh, lambda x, h: torch.sinh(x))


def _sech_value(x: Tensor) -> Tensor:
    decay = torch.exp(-x.abs())
    return 2 * decay / (1 + decay * decay)


sech = with_slope(_sech_value, lambda x, h: -h * torch.tanh(x))
csch = with_slope(lambda x: 1 / torch.sinh(x), lambda x, h: -h / torch.tanh(x))


def _sin_and_cos_of_pi(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x in at least float32, and sin(pi*x) and cos(pi*x): near whole numbers pi*x itself would lose the digits."""
    x_float = _at_least_float32(x)
    nearest_integer = torch.round(x_float)
    sign = 1 - 2 * torch.remainder(nearest_integer, 2)
    angle = math.pi * (x_float - nearest_integer)
    return x_float, sign * torch.sin(angle), sign * torch.cos(angle)


def _sinc_value(x: Tensor) -> Tensor:
    x_float, sine, _ = _sin_and_cos_of_pi(x)
    return torch.where(x_float == 0, 1.0, sine / (math.pi * torch.where(x_float == 0, 1.0, x_float))).to(x.dtype)


def _sinc_slope(x: Tensor, h: Tensor) -> Tensor:
    """(cos t - sinc t)/x with t = pi*x; near 0, where that cancels, its series."""
    x_float, sine, cosine = _sin_and_cos_of_pi(x)
    t = math.pi * x_float
    series = torch.zeros_like(t)
    for k in range(9, 0, -1):
        series = series * t * t + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    is_near = t.abs() < 1
    far_x = torch.where(is_near, 1.0, x_float)
    return torch.where(is_near, math.pi * t * series, (cosine - sine / (math.pi * far_x)) / far_x).to(x.dtype)


sinc = with_slope(_sinc_value, _sinc_slope)


def _lambertw(x: Tensor) -> Tensor:
    """W(x) in float64 where the device has it: near -1/e a series in sqrt(2(e*x + 1)), elsewhere Halley's steps."""
    z = x.double() if has_float64(x.device.type) else x
    distance = math.e * z + 1
    distance = torch.where(distance.abs() < 2 * torch.finfo(x.dtype).eps, distance.clamp(min=0), distance)
    p = torch.sqrt(2 * distance)
    series = -1 + p * (1 + p * (-1 / 3 + p * (11 / 72 + p * (-43 / 540 + p * (769 / 17280 - p * 221 / 8505)))))
    log = torch.log1p(z.clamp(min=0))
    w = torch.where(z < 0, series, log * (1 - torch.log1p(log) / (2 + log)))
    w = torch.where(p < 0.01, 0, w)
    for _ in range(5):
        f = w - z * torch.exp(-w)
        w = w - f / (w + 1 - (w + 2) * f / (2 * w + 2))
    return torch.where(p < 0.01, series, torch.where(z == math.inf, z, w))


def _lambertw_slope(x: Tensor, h: Tensor) -> Tensor:
    w = _lambertw(x)
    return (torch.exp(-w) / (1 + w)).to(x.dtype)


lambertw = with_slope(lambda x: _lambertw(x).to(x.dtype), _lambertw_slope)


def log_ndtr(x: Tensor) -> Tensor:
    return torch.special.log_ndtr(_at_least_float32(x)).to(x.dtype)


def cbrt(x: Tensor) -> Tensor:
    return torch.sign(x) * x.abs() ** (1 / 3)


def heaviside(x: Tensor, at_zero: Number = 0.5) -> Tensor:
    middle = torch.where(x == 0, at_zero, x.sign())
    return torch.where(x > 0, 1.0, torch.where(x < 0, 0.0, middle)).to(x.dtype)


def hypot(a: Number, b: Number) -> Tensor:
    """sqrt(a^2 + b^2), with slope 0 at the origin."""
    a, b = _tensors(a, b)
    origin = (a == 0) & (b == 0)
    return torch.where(origin, 0.0, torch.hypot(torch.where(origin, 1.0, a), b))


def logaddexp(a: Number, b: Number) -> Tensor:
    return torch.logaddexp(*_tensors(a, b))


def atan2(a: Number, b: Number) -> Tensor:
    return torch.atan2(*_tensors(a, b))


def softplus(x: Tensor, beta: Number = 1.0, threshold: Number = 20.0) -> Tensor:
    if not isinstance(beta, Tensor) and not isinstance(threshold, Tensor):
        return functional.softplus(x, beta, threshold)
    beta_x = beta * x
    # What is not taken must not overflow.
    return torch.where(
        beta_x > threshold, x, torch.log1p(exp(torch.minimum(beta_x, _tensor_like(threshold, beta_x)))) / beta
    )


def leaky_relu(x: Tensor, negative_slope: Number = 0.01) -> Tensor:
    return torch.where(x > 0, x, negative_slope * x)


def threshold(x: Tensor, threshold: Number, value: Number) -> Tensor:
    return torch.where(x > threshold, x, value)


def elu(x: Tensor, alpha: Number = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * expm1(x)) if isinstance(alpha, Tensor) else functional.elu(x, alpha)


def celu(x: Tensor, alpha: Number = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * expm1(x / alpha)) if isinstance(alpha, Tensor) else functional.celu(x, alpha)


def hardtanh(x: Tensor, low: Number = -1.0, high: Number = 1.0) -> Tensor:
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return torch.minimum(torch.maximum(x, _tensor_like(low, x)), _tensor_like(high, x))
    return functional.hardtanh(x, low, high)


def hardshrink(x: Tensor, lambd: Number = 0.5) -> Tensor:
    return torch.where(x.abs() > lambd, x, 0.0)


def softshrink(x: Tensor, lambd: Number = 0.5) -> Tensor:
    return torch.where(x > lambd, x - lambd, torch.where(x < -lambd, x + lambd, 0.0))


def gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _tensor_like(value: Number, sample: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=sample.dtype, device=sample.device)


def _tensors(a: Number, b: Number) -> tuple[Tensor, Tensor]:
    """Both as tensors; one of them is."""
    sample = a if isinstance(a, Tensor) else b
    assert isinstance(sample, Tensor)
    return _tensor_like(a, sample), _tensor_like(b, sample)


def xlogy(a: Number, b: Number) -> Tensor:
    return torch.xlogy(*_tensors(a, b))
