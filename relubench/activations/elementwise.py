"""Activations of one column with fixed parameters: each with its gradient in closed form.

The gradients are ATen's fused backward kernels, written over `grad` where a kernel has such a variant. Where the output
tells the slope, the output is what is saved, so that one buffer serves for z and h. Infinite pre-activations are not
repaired: a network that has them has diverged, and where f takes the product of 0 and infinity, NaN says so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relubench.activations.definition import Activation, ActivationGradient, ActivationInto, plain

aten = torch.ops.aten

_LECUN_HEIGHT = 1.7159
_LECUN_SCALE = 2 / 3
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def identity() -> Activation:
    """f(x) = x. The linear network, for reference."""
    return Activation(
        # A view would let autograd's users write through to z; a new tensor is what every other activation gives.
        function=plain(torch.clone),
        gradient=_elementwise_gradient(lambda grad, h: grad),
        saves="h",
        inplace=lambda z: z,
        out=_write_into(lambda z, out: out.copy_(z)),
    )


def sigmoid() -> Activation:
    """f(x) = 1/(1 + e^-x). Classical."""
    return Activation(
        function=plain(torch.sigmoid),
        gradient=_elementwise_gradient(lambda grad, h: aten.sigmoid_backward.grad_input(grad, h, grad_input=grad)),
        saves="h",
        inplace=torch.sigmoid_,
        out=_write_into(lambda z, out: torch.sigmoid(z, out=out)),
    )


def tanh() -> Activation:
    """f(x) = tanh x. Classical."""
    return Activation(
        function=plain(torch.tanh),
        gradient=_elementwise_gradient(lambda grad, h: aten.tanh_backward.grad_input(grad, h, grad_input=grad)),
        saves="h",
        inplace=torch.tanh_,
        out=_write_into(lambda z, out: torch.tanh(z, out=out)),
    )


def lecun_tanh() -> Activation:
    """f(x) = 1.7159 tanh(2x/3), so that f(1) is close to 1. LeCun, Bottou, Orr & Müller 1998."""

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        unit = h / _LECUN_HEIGHT
        return aten.tanh_backward.grad_input(grad, unit, grad_input=grad).mul_(_LECUN_HEIGHT * _LECUN_SCALE)

    return Activation(
        function=plain(lambda z: torch.tanh(z * _LECUN_SCALE) * _LECUN_HEIGHT),
        gradient=_elementwise_gradient(gradient),
        saves="h",
        inplace=lambda z: z.mul_(_LECUN_SCALE).tanh_().mul_(_LECUN_HEIGHT),
        out=_write_into(lambda z, out: torch.mul(z, _LECUN_SCALE, out=out).tanh_().mul_(_LECUN_HEIGHT)),
    )


def hardtanh() -> Activation:
    """f(x) = min(max(x, -1), 1); slope 0 at the corners, as in torch. Collobert 2004."""
    return _clamped(-1.0, 1.0, exact_zeros=False)


def relu6() -> Activation:
    """f(x) = min(max(0, x), 6); slope 0 at the corners, as in torch. Krizhevsky 2010."""
    return _clamped(0.0, 6.0, exact_zeros=True)


def abs_tanh() -> Activation:
    """f(x) = |tanh x|; slope 0 at 0. Jarrett et al. 2009."""

    def gradient(grad: Tensor, z: Tensor) -> Tensor:
        signed = torch.tanh(z)
        return aten.tanh_backward.grad_input(grad, signed, grad_input=grad).mul_(signed.sign_())

    return Activation(
        function=plain(lambda z: torch.tanh(z).abs()),
        gradient=_elementwise_gradient(gradient),
        out=_write_into(lambda z, out: torch.tanh(z, out=out).abs_()),
    )


def softsign() -> Activation:
    """f(x) = x/(1 + |x|), with slope (1 - |f|)^2. Bergstra et al. 2009."""

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        root = h.abs().neg_().add_(1)
        return grad.mul_(root).mul_(root)

    def out(z: Tensor, out: Tensor) -> Tensor:
        return torch.div(z, torch.abs(z, out=out).add_(1), out=out)

    return Activation(
        function=plain(torch.nn.functional.softsign),
        gradient=_elementwise_gradient(gradient),
        saves="h",
        inplace=lambda z: z.div_(z.abs().add_(1)),
        out=_write_into(out),
    )


def softplus(beta: float, threshold: float) -> Activation:
    """f(x) = ln(1 + e^(beta x))/beta, and x itself where beta x > threshold. Dugas 2001; beta, Glorot 2011."""

    def gradient(grad: Tensor, z: Tensor) -> Tensor:
        return aten.softplus_backward.grad_input(grad, z, beta, threshold, grad_input=grad)

    return Activation(
        function=plain(lambda z: torch.nn.functional.softplus(z, beta, threshold)),
        gradient=_elementwise_gradient(gradient),
        out=_write_into(lambda z, out: aten.softplus.out(z, beta, threshold, out=out)),
    )


def relu() -> Activation:
    """f(x) = max(0, x), f'(0) = 0. Nair & Hinton 2010; Glorot, Bordes & Bengio 2011."""
    return Activation(
        function=plain(torch.relu),
        gradient=_elementwise_gradient(lambda grad, h: aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad)),
        saves="h",
        inplace=torch.relu_,
        out=_write_into(lambda z, out: torch.clamp_min(z, 0, out=out)),
        negative_slope=0.0,
        exact_zeros=True,
    )


def squared_relu() -> Activation:
    """f(x) = max(0, x)^2, with slope 2 max(0, x), from x: f overflows long before its slope does. So et al. 2021."""
    return Activation(
        function=plain(lambda z: torch.relu(z).square()),
        gradient=_elementwise_gradient(lambda grad, z: grad.mul_(z.clamp_min(0)).mul_(2)),
        out=_write_into(lambda z, out: torch.clamp_min(z, 0, out=out).square_()),
        exact_zeros=True,
    )


def leaky_relu(negative_slope: float) -> Activation:
    """f(x) = x if x > 0 else negative_slope x; f'(0) = negative_slope. Maas, Hannun & Ng 2013."""
    # With a negative slope the output no longer tells on which side of 0 the input was.
    from_output = negative_slope >= 0

    def gradient(grad: Tensor, saved: Tensor) -> Tensor:
        return aten.leaky_relu_backward.grad_input(grad, saved, negative_slope, from_output, grad_input=grad)

    return Activation(
        function=plain(lambda z: torch.nn.functional.leaky_relu(z, negative_slope)),
        gradient=_elementwise_gradient(gradient),
        saves="h" if from_output else "z",
        inplace=(lambda z: aten.leaky_relu_(z, negative_slope)) if from_output else None,
        out=_write_into(lambda z, out: aten.leaky_relu.out(z, negative_slope, out=out)),
        negative_slope=negative_slope if from_output else None,
        exact_zeros=negative_slope == 0,
    )


def elu(alpha: float) -> Activation:
    """f(x) = x if x > 0 else alpha (e^x - 1). Clevert, Unterthiner & Hochreiter 2015."""
    return _exponential(alpha, scale=1.0, input_scale=1.0)


def celu(alpha: float) -> Activation:
    """f(x) = x if x > 0 else alpha (e^(x/alpha) - 1), smooth for every alpha. Barron 2017."""
    return _exponential(alpha, scale=1.0, input_scale=1 / alpha)


def selu() -> Activation:
    """f(x) = 1.0507 (x if x > 0 else 1.67326 (e^x - 1)): 0 mean and variance 1 are a fixed point. Klambauer 2017."""
    return _exponential(_SELU_ALPHA, scale=_SELU_SCALE, input_scale=1.0)


def gelu(approximate: str) -> Activation:
    """f(x) = x Phi(x), or x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))). Hendrycks & Gimpel 2016."""

    def gradient(grad: Tensor, z: Tensor) -> Tensor:
        return aten.gelu_backward.grad_input(grad, z, approximate=approximate, grad_input=grad)

    return Activation(
        function=plain(lambda z: torch.nn.functional.gelu(z, approximate=approximate)),
        gradient=_elementwise_gradient(gradient),
        out=_write_into(lambda z, out: aten.gelu.out(z, approximate=approximate, out=out)),
    )


def silu() -> Activation:
    """f(x) = x sigmoid(x). Elfwing, Uchibe & Doya 2017."""
    return Activation(
        function=plain(torch.nn.functional.silu),
        gradient=_elementwise_gradient(lambda grad, z: aten.silu_backward.grad_input(grad, z, grad_input=grad)),
        out=_write_into(lambda z, out: aten.silu.out(z, out=out)),
    )


def hardswish() -> Activation:
    """f(x) = x min(max(x + 3, 0), 6)/6. Howard et al. 2019."""
    return Activation(
        function=plain(torch.nn.functional.hardswish),
        gradient=_elementwise_gradient(aten.hardswish_backward.default),
        out=_write_into(lambda z, out: aten.hardswish.out(z, out=out)),
        exact_zeros=True,
    )


def mish() -> Activation:
    """f(x) = x tanh(ln(1 + e^x)). Misra 2019."""
    return Activation(
        function=plain(torch.nn.functional.mish),
        gradient=_elementwise_gradient(aten.mish_backward.default),
        out=_write_into(lambda z, out: aten.mish.out(z, out=out)),
    )


def _clamped(low: float, high: float, *, exact_zeros: bool) -> Activation:
    """f(x) = min(max(x, low), high)."""

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        return aten.hardtanh_backward.grad_input(grad, h, low, high, grad_input=grad)

    return Activation(
        function=plain(lambda z: torch.nn.functional.hardtanh(z, low, high)),
        gradient=_elementwise_gradient(gradient),
        saves="h",
        inplace=lambda z: aten.hardtanh_(z, low, high),
        out=_write_into(lambda z, out: aten.hardtanh.out(z, low, high, out=out)),
        exact_zeros=exact_zeros,
    )


def _exponential(alpha: float, scale: float, input_scale: float) -> Activation:
    """f(x) = scale (x if x > 0 else alpha (e^(input_scale x) - 1))."""

    def gradient(grad: Tensor, h: Tensor) -> Tensor:
        return aten.elu_backward.grad_input(grad, alpha, scale, input_scale, True, h, grad_input=grad)

    return Activation(
        function=plain(lambda z: aten.elu(z, alpha, scale, input_scale)),
        gradient=_elementwise_gradient(gradient),
        saves="h",
        inplace=lambda z: aten.elu_(z, alpha, scale, input_scale),
        out=_write_into(lambda z, out: aten.elu.out(z, alpha, scale, input_scale, out=out)),
    )


def _elementwise_gradient(elementwise: Callable[[Tensor, Tensor], Tensor]) -> ActivationGradient:
    return lambda grad, saved, dim=-1, /: elementwise(grad, saved)


def _write_into(elementwise: Callable[[Tensor, Tensor], Tensor]) -> ActivationInto:
    return lambda z, out, dim=-1, /: elementwise(z, out)
