"""Activations whose form is itself learned: several numbers a layer or unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from relubench.activations.definition import Activation
from relubench.activations.row import ActivationRow, HeldForm

if TYPE_CHECKING:
    from torch import Tensor


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
    ranges={**dict.fromkeys(_PADE_NAMES, (-5.0, 5.0)), "b4": (0.01, 5.0)},
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
