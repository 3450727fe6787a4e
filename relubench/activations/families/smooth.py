"""Smooth relatives of ReLU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from relubench.activations.definition import Activation, elementwise
from relubench.activations.row import ActivationRow, HeldForm

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


def softplus_inverse(value: float) -> float:
    """The x whose softplus is `value`."""
    return value + math.log(-math.expm1(-value))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_XIELU_BETA = 0.5


@ActivationRow(
    formula="alpha_p*x**2 + x/2 if x > 0 else alpha_n*(exp(x)-1-x) + x/2, alpha_p > 0 and alpha_n > 1/2 learned",
    family="smooth",
    gain=0.75907693827729,
    year=2024,
    source="Huang & Schlag 2024, Deriving Activation Functions Using Integration; first values as in their code",
    truth="alpha_p*x**2 + x/2 if x > 0 else alpha_n*(expm1(x)-x) + x/2",
    parameters={"alpha_p": 0.8, "alpha_n": 0.8},
    ranges={"alpha_p": (0.01, 20.0), "alpha_n": (0.51, 20.0)},
    learned=("alpha_p", "alpha_n"),
    held={
        "alpha_p": HeldForm(softplus_inverse, _softplus),
        "alpha_n": HeldForm(
            lambda alpha: softplus_inverse(alpha - _XIELU_BETA), lambda held: _softplus(held) + _XIELU_BETA
        ),
    },
)
def xielu(alpha_p: float, alpha_n: float) -> Activation:
    """What is trained is a number whose softplus is alpha_p, and one whose softplus is alpha_n - 1/2."""
    import torch

    starts = (softplus_inverse(alpha_p), softplus_inverse(alpha_n - _XIELU_BETA))

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        # In 16 bits softplus and the square would each be rounded, and the square overflow before its factor.
        wide = torch.promote_types(z.dtype, torch.float32)
        held = [torch.as_tensor(value, dtype=wide) for value in (learned or starts)]
        positive, negative = (torch.nn.functional.softplus(value, threshold=60.0) for value in held)
        x = z.to(wide)
        below = x.clamp_max(0)
        curve = torch.where(x > 0, positive * x * x, (negative + _XIELU_BETA) * (torch.expm1(below) - below))
        return (curve + _XIELU_BETA * x).to(z.dtype)

    return Activation(function=function, learned=starts)


_PADE_NAMES = ("a0", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4")
_PADE_LEAKY_RELU = (
    *(0.02979246, 0.61837738, 2.32335207, 3.05202660, 1.48548002, 0.25103717),
    *(1.14201226, 4.39322834, 0.87154450, 0.34720652),
)
"""What their code starts from: within 0.03 of leaky_relu on [-3, 3]."""


@ActivationRow(
    formula="(a0+a1*x+a2*x**2+a3*x**3+a4*x**4+a5*x**5)"
    "/(1+abs(b1*x)+abs(b2*x**2)+abs(b3*x**3)+abs(b4*x**4)), all learned",
    family="smooth",
    gain=1.41436655790306,
    year=2020,
    source="Molina, Schramowski & Kersting 2020, Padé Activation Units; form and first values as in their code",
    truth="(a0+x*(a1+x*(a2+x*(a3+x*(a4+x*a5)))))/(1+abs(x)*(abs(b1)+abs(x)*(abs(b2)+abs(x)*(abs(b3)+abs(x)*abs(b4)))))",
    parameters=dict(zip(_PADE_NAMES, _PADE_LEAKY_RELU, strict=True)),
    ranges=dict.fromkeys(_PADE_NAMES, (-5.0, 5.0)),
    learned=_PADE_NAMES,
)
def rational(**coefficients: float) -> Activation:
    """Where |x| > 1 both polynomials are divided by x^4, so that neither overflows."""
    import torch

    starts = tuple(coefficients[name] for name in _PADE_NAMES)

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        wide = torch.promote_types(z.dtype, torch.float32)
        values = [torch.as_tensor(value, dtype=wide) for value in (learned or starts)]
        a0, a1, a2, a3, a4, a5 = values[:6]
        b1, b2, b3, b4 = (value.abs() for value in values[6:])
        far = z.abs() > 1
        x = torch.where(far, 1, z).to(wide)
        s = x.abs()
        near = (a0 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * a5))))) / (1 + s * (b1 + s * (b2 + s * (b3 + s * b4))))
        y = torch.where(far, z, 1).to(wide)
        u = 1 / y
        s = u.abs()
        beyond = (y * a5 + (a4 + u * (a3 + u * (a2 + u * (a1 + u * a0))))) / (b4 + s * (b3 + s * (b2 + s * (b1 + s))))
        return torch.where(far, beyond, near).to(z.dtype)

    return Activation(function=function, learned=starts)
