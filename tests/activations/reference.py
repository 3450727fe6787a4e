"""The activations again, one value at a time at 40 digits: written from the papers, not from the package."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
from mpmath import mp, mpf

mp.dps = 40

F = Callable[[mpf], mpf]


def logistic(x):
    return 1 / (1 + mpmath.exp(-x))


def leaky(slope: float) -> F:
    return lambda x: x if x > 0 else mpf(slope) * x


def softplus(beta: float = 1.0) -> F:
    return lambda x: mpmath.log1p(mpmath.exp(mpf(beta) * x)) / mpf(beta)


def exponential(alpha: float, scale: float = 1.0, divisor: float = 1.0) -> F:
    return lambda x: mpf(scale) * (x if x > 0 else mpf(alpha) * mpmath.expm1(x / mpf(divisor)))


def gelu(x):
    return x * mpmath.ncdf(x)


def gelu_tanh(x):
    inner = mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)
    return x / 2 * (1 + mpmath.tanh(inner))


def silu(x):
    return x * logistic(x)


ELEMENTWISE: dict[str, F] = {
    "identity": lambda x: x,
    "sigmoid": logistic,
    "tanh": mpmath.tanh,
    "lecun_tanh": lambda x: mpf("1.7159") * mpmath.tanh(2 * x / 3),
    "hardtanh": lambda x: max(-1, min(1, x)),
    "abs_tanh": lambda x: abs(mpmath.tanh(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "relu": lambda x: max(0, x),
    "nrelu": lambda x: max(0, x),
    "relu6": lambda x: min(6, max(0, x)),
    "squared_relu": lambda x: max(0, x) ** 2,
    "leaky_relu": leaky(0.01),
    "leaky_relu:negative_slope=0.2": leaky(0.2),
    "leaky_relu:negative_slope=0": leaky(0.0),
    "leaky_relu:negative_slope=-0.3": leaky(-0.3),
    "prelu": leaky(0.25),
    "rrelu": leaky((1 / 8 + 1 / 3) / 2),
    "softplus": softplus(),
    "softplus:beta=3:threshold=30": softplus(3),
    "elu": exponential(1),
    "elu:alpha=0.5": exponential(0.5),
    "celu": exponential(1),
    "celu:alpha=2": exponential(2, divisor=2),
    "selu": exponential(1.6732632423543772, scale=1.0507009873554805),
    "gelu": gelu,
    "gelu:approximate=tanh": gelu_tanh,
    "silu": silu,
    "swish": silu,
    "swish:beta=1.5": lambda x: x * logistic(mpf("1.5") * x),
    "hardswish": lambda x: x * min(6, max(0, x + 3)) / 6,
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
}
"""Label -> f, in evaluation and with learned parameters at their start."""

GATES: dict[str, F] = {
    "glu": logistic,
    "bilinear": lambda x: x,
    "reglu": lambda x: max(0, x),
    "geglu": gelu,
    "swiglu": silu,
}
"""Name -> g of a*g(b)."""

CORNERS: dict[str, list[tuple[float, float]]] = {
    "relu": [(0.0, 0.0)],
    "relu6": [(0.0, 0.0), (6.0, 0.0)],
    "hardtanh": [(-1.0, 0.0), (1.0, 0.0)],
    "abs_tanh": [(0.0, 0.0)],
    "squared_relu": [(0.0, 0.0)],
    "leaky_relu": [(0.0, 0.01)],
    "elu": [(0.0, 1.0)],
}
"""Label -> (x, the slope taken there) where there is a kink, as torch takes it."""


def slope(function: F, x: float) -> float:
    """f'(x), by a central difference that 40 digits make exact to 1e-15; x must not be at a kink."""
    step = mpf(10) ** -15
    return float((function(mpf(x) + step) - function(mpf(x) - step)) / (2 * step))
