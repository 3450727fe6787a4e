"""Sigmoids, tanh and what came before rectifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.activations.definition import Activation, clamped, elementwise
from relubench.activations.row import ActivationRow

if TYPE_CHECKING:
    from torch import Tensor

_LECUN_HEIGHT = 1.7159
_LECUN_SCALE = 2 / 3


@ActivationRow(formula="x", family="classic", gain=1.0, torch_gain=1.0, source="classical", kinks=())
def identity() -> Activation:
    """The linear network, for reference."""
    import torch

    return elementwise(
        # A view would let autograd's users write through to z; a new tensor is what every other activation gives.
        torch.clone,
        gradient=lambda grad, h: grad,
        saves="h",
        inplace=lambda z: z,
        out=lambda z, out: out.copy_(z),
    )


@ActivationRow(
    formula="1/(1+exp(-x))",
    family="classic",
    gain=1.8462285453386,
    torch_gain=1.0,
    source="classical",
    truth="sigmoid(x)",
)
def sigmoid() -> Activation:
    import torch

    return elementwise(
        torch.sigmoid,
        gradient=lambda grad, h: torch.ops.aten.sigmoid_backward.grad_input(grad, h, grad_input=grad),
        saves="h",
        inplace=torch.sigmoid_,
        out=lambda z, out: torch.sigmoid(z, out=out),
    )


@ActivationRow(formula="tanh(x)", family="classic", gain=1.5925374197228, torch_gain=5 / 3, source="classical")
def tanh() -> Activation:
    import torch

    return elementwise(
        torch.tanh,
        gradient=lambda grad, h: torch.ops.aten.tanh_backward.grad_input(grad, h, grad_input=grad),
        saves="h",
        inplace=torch.tanh_,
        out=lambda z, out: torch.tanh(z, out=out),
    )


@ActivationRow(
    formula="1.7159*tanh(2*x/3)",
    family="classic",
    gain=1.1543694539761,
    year=1998,
    source="LeCun, Bottou, Orr & Müller 1998, Efficient BackProp",
)
def lecun_tanh() -> Activation:
    """f(1) is close to 1."""
    import torch

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        unit = h / _LECUN_HEIGHT
        tanh_slope = torch.ops.aten.tanh_backward.grad_input(grad, unit, grad_input=grad)
        return tanh_slope.mul_(_LECUN_HEIGHT * _LECUN_SCALE)

    return elementwise(
        lambda z: torch.tanh(z * _LECUN_SCALE) * _LECUN_HEIGHT,
        gradient=gradient,
        saves="h",
        inplace=lambda z: z.mul_(_LECUN_SCALE).tanh_().mul_(_LECUN_HEIGHT),
        out=lambda z, out: torch.mul(z, _LECUN_SCALE, out=out).tanh_().mul_(_LECUN_HEIGHT),
    )


@ActivationRow(
    formula="min(max(x, -1), 1)",
    family="classic",
    gain=1.3920361404483,
    year=2004,
    source="Collobert 2004",
    kinks=(-1.0, 1.0),
)
def hardtanh() -> Activation:
    """The slope is 0 at the corners, as in torch."""
    return clamped(-1.0, 1.0, exact_zeros=False)


@ActivationRow(formula="abs(tanh(x))", family="classic", gain=1.5925374197228, year=2009, source="Jarrett et al. 2009")
def abs_tanh() -> Activation:
    """The slope is 0 at 0."""
    import torch

    def gradient(grad: Tensor, z: Tensor) -> Tensor:
        signed = torch.tanh(z)
        return torch.ops.aten.tanh_backward.grad_input(grad, signed, grad_input=grad).mul_(signed.sign_())

    return elementwise(
        lambda z: torch.tanh(z).abs(), gradient=gradient, out=lambda z, out: torch.tanh(z, out=out).abs_()
    )


@ActivationRow(
    formula="x/(1+abs(x))",
    family="classic",
    gain=2.3375333631085,
    year=2009,
    source="Bergstra et al. 2009",
    true_slope="1/(1+abs(x))**2",
)
def softsign() -> Activation:
    """The slope is (1 - |f|)^2."""
    import torch

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        root = h.abs().neg_().add_(1)
        return grad.mul_(root).mul_(root)

    return elementwise(
        torch.nn.functional.softsign,
        gradient=gradient,
        saves="h",
        inplace=lambda z: z.div_(z.abs().add_(1)),
        out=lambda z, out: torch.div(z, torch.abs(z, out=out).add_(1), out=out),
    )


def _phase(z: Tensor, factor: float) -> Tensor:
    """The argument of a sine, factor * z, of 16 bits in float32: they would overflow, and lose it beyond 100."""
    import torch

    return z.to(torch.promote_types(z.dtype, torch.float32)) * factor


@ActivationRow(
    formula="sin(frequency*x)",
    family="classic",
    gain=1.4142135623731,
    year=2020,
    source="Sitzmann, Martel, Bergman, Lindell & Wetzstein 2020, Implicit neural representations with periodic "
    "activation functions (SIREN)",
    parameters={"frequency": 30.0},
    ranges={"frequency": (0.1, 100.0)},
    init="siren",
)
def sine(frequency: float) -> Activation:
    """Its weights are drawn by the paper's rule, unless --init names another."""
    import torch

    return elementwise(
        lambda z: torch.sin(_phase(z, frequency)).to(z.dtype),
        gradient=lambda grad, z: grad.mul_(torch.cos(_phase(z, frequency)).mul_(frequency)),
        out=lambda z, out: out.copy_(_phase(z, frequency).sin_()),
    )


@ActivationRow(
    formula="x+sin(alpha*x)**2/alpha",
    family="classic",
    gain=0.8745809829314,
    year=2020,
    source="Ziyin, Hartwig & Ueda 2020, Neural networks fail to learn periodic functions and how to fix it",
    true_slope="1+sin(2*alpha*x)",
    parameters={"alpha": 1.0},
    ranges={"alpha": (0.1, 50.0)},
)
def snake(alpha: float) -> Activation:
    """The slope is 1 + sin(2 alpha x), between 0 and 2."""
    import torch

    return elementwise(
        lambda z: torch.sin(_phase(z, alpha)).square_().div_(alpha).add_(z).to(z.dtype),
        gradient=lambda grad, z: grad.mul_(torch.sin(_phase(z, 2 * alpha)).add_(1)),
        out=lambda z, out: out.copy_(_phase(z, alpha).sin_().square_().div_(alpha).add_(z)),
    )
