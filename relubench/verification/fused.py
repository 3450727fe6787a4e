"""The arithmetic inside PyTorch's fused operations, step by step: what each rounds before its result is rounded once.

A fused kernel computes in float32, whatever the type. How far its inner roundings reach its result follows from these
steps and its parameters: x*beta inside an exponential, 1 + erf(x) where it cancels. The steps are those of ATen's
definitions; a kernel that takes others may be as far off as these, no further. `grad` is the output's gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_ROOT_HALF = math.sqrt(0.5)
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(_ROOT_2_OVER_PI * (x + _CUBIC * (x * x * x))))
    return 0.5 * x * (1 + torch.erf(x * _ROOT_HALF))


def _gelu_backward(grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        tanh_values = torch.tanh(_ROOT_2_OVER_PI * (x + _CUBIC * (x * x * x)))
        inner_slope = _ROOT_2_OVER_PI * (1 + 3 * _CUBIC * (x * x))
        return grad * (0.5 * (1 + tanh_values) + 0.5 * x * (1 - tanh_values * tanh_values) * inner_slope)
    distribution = 0.5 * (1 + torch.erf(x * _ROOT_HALF))
    return grad * (distribution + x * (torch.exp(-0.5 * (x * x)) * (_ROOT_2_OVER_PI / 2)))


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return grad * gate * (1 + x * (1 - gate))


def _mish_backward(grad: Tensor, x: Tensor) -> Tensor:
    tanh_values = torch.tanh(torch.log1p(torch.exp(x)))
    return grad * (tanh_values + x * torch.sigmoid(x) * (1 - tanh_values * tanh_values))


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    beta_x = x * beta
    return torch.where(beta_x > threshold, x, torch.log1p(torch.exp(beta_x)) / beta)


def _softplus_backward(grad: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    beta_x = x * beta
    power = torch.exp(beta_x)
    return torch.where(beta_x > threshold, grad, grad * power / (power + 1))


def _elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    return torch.where(x > 0, x * scale, torch.expm1(x * input_scale) * (alpha * scale))


def _elu_backward(
    grad: Tensor, alpha: float, scale: float, input_scale: float, is_result: bool, saved: Tensor
) -> Tensor:
    height = alpha * scale
    exponential = saved + height if is_result else torch.exp(saved * input_scale) * height
    return torch.where(saved <= 0, grad * input_scale * exponential, grad * scale)


def _hardswish_backward(grad: Tensor, x: Tensor) -> Tensor:
    return torch.where(x <= -3, torch.zeros_like(x), torch.where(x < 3, grad * (x / 3 + 0.5), grad))


def _log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    power = torch.exp(-x.abs())
    return torch.clamp(x, max=0) - torch.log1p(power), power


def _log_sigmoid_backward(grad: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    power = torch.exp(-x.abs())
    sigmoid_of_abs = power / (1 + power)
    return grad * torch.where(x < 0, 1 - sigmoid_of_abs, sigmoid_of_abs)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _glu_backward(grad: Tensor, x: Tensor, dim: int) -> Tensor:
    a, b = x.chunk(2, dim)
    gate = torch.sigmoid(b)
    return torch.cat([grad * gate, (1 - gate) * gate * grad * a], dim)


FUSED: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "silu": lambda x: x * torch.sigmoid(x),
    "silu_backward": _silu_backward,
    "mish": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
    "mish_backward": _mish_backward,
    "softplus": _softplus,
    "softplus_backward": _softplus_backward,
    "elu": _elu,
    "celu": lambda x, alpha=1: _elu(x, alpha, 1.0, 1 / alpha),
    "elu_backward": _elu_backward,
    "hardswish": lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    "hardswish_backward": _hardswish_backward,
    "hardsigmoid": lambda x: torch.clamp(x + 3, 0, 6) / 6,
    "log_sigmoid_forward": _log_sigmoid_forward,
    "log_sigmoid_backward": _log_sigmoid_backward,
    "leaky_relu": lambda x, slope=0.01: torch.where(x > 0, x, x * slope),
    "leaky_relu_backward": lambda grad, saved, slope, is_result: torch.where(saved > 0, grad, grad * slope),
    "_prelu_kernel": lambda x, weight: torch.where(x > 0, x, x * weight),
    "sigmoid_backward": lambda grad, h: grad * (1 - h) * h,
    "tanh_backward": lambda grad, h: grad * (1 - h * h),
    "glu": _glu,
    "glu_backward": _glu_backward,
    "logaddexp": lambda a, b: torch.maximum(a, b) + torch.log1p(torch.exp(-(a - b).abs())),
    "addcmul": lambda x, a, b, *, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, *, value=1: x + value * a / b,
    "lerp": lambda a, b, weight: a + weight * (b - a),
}
"""ATen name -> its steps."""


def power(x: Tensor, exponent: float) -> Tensor | None:
    """x to a small whole power, by the products that ATen forms, each of which rounds in the type; None for others."""
    match exponent:
        case 0 | 1:
            return x.clone() if exponent else torch.ones_like(x)
        case 2:
            return x * x
        case 3:
            return x * x * x
        case -1:
            return 1 / x
        case -2:
            return 1 / (x * x)
    return None
