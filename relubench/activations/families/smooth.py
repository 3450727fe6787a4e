"""Smooth relatives of ReLU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from relubench.activations.definition import Activation, elementwise
from relubench.activations.row import ActivationRow

if TYPE_CHECKING:
    from torch import Tensor

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def logit(share: float) -> float:
    """The x whose sigmoid is `share`; NaN where there is none."""
    return math.log(share / (1 - share)) if 0 < share < 1 else math.nan


def _exponential(alpha: float, scale: float, input_scale: float) -> Activation:
    """f(x) = scale (x if x > 0 else alpha (e^(input_scale x) - 1))."""
    import torch

    aten = torch.ops.aten

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        return aten.elu_backward.grad_input(grad, alpha, scale, input_scale, True, h, grad_input=grad)

    return elementwise(
        lambda z: aten.elu(z, alpha, scale, input_scale),
        gradient=gradient,
        saves="h",
        inplace=lambda z: aten.elu_(z, alpha, scale, input_scale),
        out=lambda z, out: aten.elu.out(z, alpha, scale, input_scale, out=out),
    )


@ActivationRow(
    formula="log(1+exp(beta*x))/beta",
    family="smooth",
    gain=1.0418668355353,
    year=2001,
    source="Dugas et al. 2001; rescaled by beta, Glorot, Bordes & Bengio 2011",
    truth="x if beta*x > threshold else logaddexp(0, beta*x)/beta",
    parameters={"beta": 1.0, "threshold": 20.0},
    ranges={"beta": (0.001, 1000.0), "threshold": (1.0, 80.0)},
)
def softplus(beta: float, threshold: float) -> Activation:
    """f(x) is x itself where beta x > threshold."""
    import torch

    aten = torch.ops.aten
    return elementwise(
        lambda z: torch.nn.functional.softplus(z, beta, threshold),
        gradient=lambda grad, z: aten.softplus_backward.grad_input(grad, z, beta, threshold, grad_input=grad),
        out=lambda z, out: aten.softplus.out(z, beta, threshold, out=out),
    )


@ActivationRow(
    formula="x if x > 0 else alpha*(exp(x)-1)",
    family="smooth",
    gain=1.2451983007007,
    year=2015,
    source="Clevert, Unterthiner & Hochreiter 2015",
    truth="x if x > 0 else alpha*expm1(x)",
    parameters={"alpha": 1.0},
    ranges={"alpha": (0.001, 100.0)},
)
def elu(alpha: float) -> Activation:
    return _exponential(alpha, scale=1.0, input_scale=1.0)


@ActivationRow(
    formula="x if x > 0 else alpha*(exp(x/alpha)-1)",
    family="smooth",
    gain=1.2451983007007,
    year=2017,
    source="Barron 2017",
    truth="x if x > 0 else alpha*expm1(x/alpha)",
    parameters={"alpha": 1.0},
    ranges={"alpha": (0.001, 100.0)},
)
def celu(alpha: float) -> Activation:
    """It is smooth for every alpha."""
    return _exponential(alpha, scale=1.0, input_scale=1 / alpha)


@ActivationRow(
    formula="1.0507*(x if x > 0 else 1.67326*(exp(x)-1))",
    family="smooth",
    gain=1.0,
    torch_gain=0.75,
    year=2017,
    source="Klambauer et al. 2017",
    truth="1.0507009873554805*(x if x > 0 else 1.6732632423543772*expm1(x))",
)
def selu() -> Activation:
    """0 mean and variance 1 are a fixed point."""
    return _exponential(_SELU_ALPHA, scale=_SELU_SCALE, input_scale=1.0)


@ActivationRow(
    formula="x*Phi(x), Phi the normal distribution function, or its tanh approximation",
    family="smooth",
    gain=1.5335304411955,
    year=2016,
    source="Hendrycks & Gimpel 2016",
    truth=lambda approximate: "x*Phi(x)" if approximate == "none" else "x*sigmoid(2*sqrt(2/pi)*(x + 0.044715*x**3))",
    parameters={"approximate": "none"},
    options={"approximate": ("none", "tanh")},
)
def gelu(approximate: str) -> Activation:
    """The approximation is x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3)))."""
    import torch

    aten = torch.ops.aten
    return elementwise(
        lambda z: torch.nn.functional.gelu(z, approximate=approximate),
        gradient=lambda grad, z: aten.gelu_backward.grad_input(grad, z, approximate=approximate, grad_input=grad),
        out=lambda z, out: aten.gelu.out(z, approximate=approximate, out=out),
    )


@ActivationRow(
    formula="x*sigmoid(x)", family="smooth", gain=1.6765324703311, year=2017, source="Elfwing, Uchibe & Doya 2017"
)
def silu() -> Activation:
    import torch

    return elementwise(
        torch.nn.functional.silu,
        gradient=lambda grad, z: torch.ops.aten.silu_backward.grad_input(grad, z, grad_input=grad),
        out=lambda z, out: torch.ops.aten.silu.out(z, out=out),
    )


@ActivationRow(
    formula="x*sigmoid(b*x), b learned from beta, one b a layer or unit",
    family="smooth",
    gain=1.6765324703311,
    year=2017,
    source="Ramachandran, Zoph & Le 2017",
    truth="x*sigmoid(beta*x)",
    parameters={"beta": 1.0},
    ranges={"beta": (0.0, 100.0)},
    learned=("beta",),
    start=lambda _, right: logit(right),
)
def swish(beta: float) -> Activation:
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return z * torch.sigmoid((learned[0] if learned else beta) * z)

    return Activation(function=function, learned=(beta,))


@ActivationRow(
    formula="x*min(max(x+3, 0), 6)/6",
    family="smooth",
    gain=1.7366572127665,
    year=2019,
    source="Howard et al. 2019, MobileNetV3",
)
def hardswish() -> Activation:
    import torch

    return elementwise(
        torch.nn.functional.hardswish,
        gradient=torch.ops.aten.hardswish_backward.default,
        out=lambda z, out: torch.ops.aten.hardswish.out(z, out=out),
        exact_zeros=True,
    )


@ActivationRow(formula="x*tanh(softplus(x))", family="smooth", gain=1.4868475812732, year=2019, source="Misra 2019")
def mish() -> Activation:
    import torch

    return elementwise(
        torch.nn.functional.mish,
        gradient=torch.ops.aten.mish_backward.default,
        out=lambda z, out: torch.ops.aten.mish.out(z, out=out),
    )


@ActivationRow(
    formula="0 if x <= -beta else x if x >= beta else (x+beta)**2/(4*beta)",
    family="smooth",
    gain=1.3803368628588,
    year=2022,
    source="Shamir, Lin & Coviello 2022, Real World Large Scale Recommendation Systems Reproducibility",
    parameters={"beta": 1.0},
    ranges={"beta": (0.01, 10.0)},
)
def smelu(beta: float) -> Activation:
    """The slope rises from 0 at -beta to 1 at beta."""
    import torch

    def slope(z: Tensor) -> Tensor:
        return (z / (2 * beta) + 0.5).clamp_(0, 1)

    return elementwise(
        lambda z: torch.where(z >= beta, z, beta * slope(z).square()),
        gradient=lambda grad, z: grad.mul_(slope(z)),
        out=lambda z, out: torch.where(z >= beta, z, beta * slope(z).square(), out=out),
        exact_zeros=True,
    )
