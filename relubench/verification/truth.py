"""The true functions and slopes in float64, each written from its definition, accurate to a few ulp of float64 itself.

They are not the kernels' own formulas: x Phi(x) comes from SciPy's ndtr, which does not cancel in the tail, slopes from
products that keep their digits. Parameters are taken in float32, as the kernels take them. At an infinity the value is
the limit. tests/verification compares them with mpmath.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

FAR = 1e30
"""What stands for infinity where a limit is asked for; beyond HUGE the limit is infinite."""
HUGE = 1e20


@dataclass(frozen=True, slots=True)
class ReferenceFunction:
    """f, f', and where f' jumps."""

    value: Function
    slope: Function
    kinks: tuple[float, ...] = ()
    """Where the slope jumps: points beside them are among those checked."""


def limited(function: Function) -> Function:
    """The same function with its limits at the infinities and NaN at NaN."""

    def with_limits(x: Array) -> Array:
        with np.errstate(all="ignore"):
            inside = np.where(np.isinf(x), np.copysign(FAR, x), x)
            y = np.asarray(function(inside), dtype=np.float64)
            endless = np.isinf(x) & (np.abs(y) > HUGE)
            y = np.where(endless, np.copysign(np.inf, y), y)
            return np.where(np.isnan(x), np.nan, y)

    return with_limits


def _sech2(x: Array) -> Array:
    return np.cosh(x) ** -2.0


def _phi(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def _tanh_like(height: float, scale: float) -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: height * np.tanh(scale * x),
        lambda x: height * scale * _sech2(scale * x),
    )


def _clamped(low: float, high: float) -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: np.clip(x, low, high),
        lambda x: ((x > low) & (x < high)).astype(np.float64),
        (low, high),
    )


def _leaky(slope: float) -> ReferenceFunction:
    slope = float(np.float32(slope))
    branch: Function = lambda x: np.where(x > 0, 1.0, slope)  # noqa: E731
    return ReferenceFunction(lambda x: np.where(x > 0, x, slope * x), branch, (0.0,))


def _exponential(alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(input_scale * np.minimum(x, 0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * input_scale * np.exp(input_scale * np.minimum(x, 0))),
        (0.0,),
    )


def _softplus(beta: float, threshold: float) -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
        lambda x: np.where(beta * x > threshold, 1.0, expit(beta * x)),
        kinks=(threshold / beta,),
    )


def _gelu(approximate: str) -> ReferenceFunction:
    if approximate == "none":
        return ReferenceFunction(lambda x: x * ndtr(x), lambda x: ndtr(x) + x * _phi(x))
    root = np.sqrt(2 / np.pi)

    def twice_inner(x: Array) -> Array:
        return 2 * root * (x + 0.044715 * x**3)

    def slope(x: Array) -> Array:
        u = twice_inner(x)
        inner_slope = np.where(np.abs(x) > 1e3, 0.0, 2 * root * (1 + 3 * 0.044715 * x * x))
        return expit(u) + x * expit(u) * expit(-u) * inner_slope

    return ReferenceFunction(lambda x: x * expit(twice_inner(x)), slope)


def _swish(beta: float) -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: x * expit(beta * x), lambda x: expit(beta * x) * (1 + beta * x * expit(-beta * x))
    )


def _hardswish() -> ReferenceFunction:
    return ReferenceFunction(
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0)),
        kinks=(-3.0, 3.0),
    )


def _mish() -> ReferenceFunction:
    def gate(x: Array) -> Array:
        return np.tanh(np.logaddexp(0, x))

    return ReferenceFunction(lambda x: x * gate(x), lambda x: gate(x) + x * _sech2(np.logaddexp(0, x)) * expit(x))


def _sigmoid() -> ReferenceFunction:
    return ReferenceFunction(expit, lambda x: expit(x) * expit(-x))


def _relu() -> ReferenceFunction:
    return ReferenceFunction(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(np.float64), (0.0,))


_MAKERS: dict[str, Callable[..., ReferenceFunction]] = {
    "identity": lambda: ReferenceFunction(lambda x: x, np.ones_like),
    "sigmoid": _sigmoid,
    "tanh": lambda: _tanh_like(1.0, 1.0),
    "lecun_tanh": lambda: _tanh_like(1.7159, 2 / 3),
    "hardtanh": lambda: _clamped(-1.0, 1.0),
    "relu6": lambda: _clamped(0.0, 6.0),
    "abs_tanh": lambda: ReferenceFunction(lambda x: np.abs(np.tanh(x)), lambda x: np.sign(x) * _sech2(x), kinks=(0.0,)),
    "softsign": lambda: ReferenceFunction(lambda x: x / (1 + np.abs(x)), lambda x: (1 + np.abs(x)) ** -2.0),
    "relu": _relu,
    "nrelu": _relu,
    "squared_relu": lambda: ReferenceFunction(lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0), (0.0,)),
    "leaky_relu": lambda negative_slope: _leaky(negative_slope),
    "prelu": lambda init: _leaky(init),
    "rrelu": lambda lower, upper: _leaky((lower + upper) / 2),
    "softplus": _softplus,
    "elu": lambda alpha: _exponential(alpha),
    "celu": lambda alpha: _exponential(alpha, input_scale=1 / alpha),
    "selu": lambda: _exponential(1.6732632423543772, scale=1.0507009873554805),
    "gelu": _gelu,
    "silu": lambda: _swish(1.0),
    "swish": _swish,
    "hardswish": _hardswish,
    "mish": _mish,
}

_GATES = {"glu": "sigmoid", "bilinear": "identity", "reglu": "relu", "geglu": "gelu", "swiglu": "silu"}


@functools.cache
def _reference_function(name: str, parameters: tuple[tuple[str, Any], ...]) -> ReferenceFunction:
    function = _MAKERS[name](**dict(parameters))
    return ReferenceFunction(limited(function.value), limited(function.slope), function.kinks)


def of_table(name: str, parameters: Mapping[str, Any]) -> ReferenceFunction:
    """The truth of a table's activation of one column; of a gated one that of its gate. KeyError for maxout."""
    if name in _GATES:
        gate = _GATES[name]
        return _reference_function(gate, (("approximate", "none"),) if gate == "gelu" else ())
    return _reference_function(name, tuple(parameters.items()))
