"""ReLU and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from relubench.activations.definition import Activation, clamped, elementwise
from relubench.activations.row import ActivationRow

if TYPE_CHECKING:
    from torch import Generator, Tensor

_SQRT2 = sqrt(2)


@ActivationRow(
    formula="max(0, x)",
    family="rectifier",
    gain=_SQRT2,
    torch_gain=_SQRT2,
    year=2010,
    source="Nair & Hinton 2010; supervised, Glorot, Bordes & Bengio 2011",
    kinks=(0.0,),
)
def relu() -> Activation:
    """The slope is 0 at 0."""
    import torch

    return elementwise(
        torch.relu,
        gradient=lambda grad, h: torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad),
        saves="h",
        inplace=torch.relu_,
        out=lambda z, out: torch.clamp_min(z, 0, out=out),
        negative_slope=0.0,
        exact_zeros=True,
    )


@ActivationRow(
    formula="max(0, x+n), n ~ N(0, variance sigmoid(x)); evaluated as max(0, x)",
    family="rectifier",
    gain=_SQRT2,
    year=2010,
    source="Nair & Hinton 2010",
    truth="max(0, x)",
    noisy=True,
    kinks=(0.0,),
)
def nrelu() -> Activation:
    """The gradient is that of the sample, through the noise's scale as well."""
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        if noise is None:
            return torch.relu(z)
        # sqrt(sigmoid(z)) has slope 0 * infinity where the sigmoid underflows.
        deviation = torch.exp(torch.nn.functional.logsigmoid(z) / 2)
        return torch.relu(z + deviation * noise.to(z.dtype))

    def draw(shape: Sequence[int], generator: Generator) -> Tensor:
        return torch.randn(tuple(shape), generator=generator, device=generator.device)

    return Activation(function=function, draw=draw, exact_zeros=True)


@ActivationRow(
    formula="max(0, x), with slope 1 everywhere in the backward pass",
    family="rectifier",
    gain=_SQRT2,
    year=2013,
    source="Bengio, Leonard & Courville 2013, Estimating or Propagating Gradients (straight-through)",
    truth="max(0, x)",
    true_slope="1+0*x",
)
def straight_through_relu() -> Activation:
    """ReLU's zeros without its zero slope: what tells apart which of the two matters. Its gradient is not its slope."""
    import torch

    class StraightThrough(torch.autograd.Function):
        @staticmethod
        def forward(z: Tensor) -> Tensor:
            return torch.relu(z)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            return

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0]

    return elementwise(
        StraightThrough.apply,
        gradient=lambda grad, h: grad,
        saves="h",
        inplace=torch.relu_,
        out=lambda z, out: torch.clamp_min(z, 0, out=out),
        exact_zeros=True,
    )


@ActivationRow(
    formula="min(max(0, x), 6)",
    family="rectifier",
    gain=1.4142135650951,
    year=2010,
    source="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
    kinks=(0.0, 6.0),
)
def relu6() -> Activation:
    """The slope is 0 at the corners, as in torch."""
    return clamped(0.0, 6.0, exact_zeros=True)


@ActivationRow(formula="max(0, x)**2", family="rectifier", gain=sqrt(2 / 3), year=2021, source="So et al. 2021, Primer")
def squared_relu() -> Activation:
    """The slope 2 max(0, x) comes from x: f overflows long before its slope does."""
    import torch

    return elementwise(
        lambda z: torch.relu(z).square(),
        gradient=lambda grad, z: grad.mul_(z.clamp_min(0)).mul_(2),
        out=lambda z, out: torch.clamp_min(z, 0, out=out).square_(),
        exact_zeros=True,
    )


@ActivationRow(
    formula="x if x > 0 else negative_slope*x",
    family="rectifier",
    gain=sqrt(2 / (1 + 0.01**2)),
    torch_gain=sqrt(2 / (1 + 0.01**2)),
    year=2013,
    source="Maas, Hannun & Ng 2013",
    parameters={"negative_slope": 0.01},
    ranges={"negative_slope": (-1.0, 1.0)},
    kinks=(0.0,),
)
def leaky_relu(negative_slope: float) -> Activation:
    """The slope at 0 is negative_slope."""
    import torch

    aten = torch.ops.aten
    # With a negative slope the output no longer tells on which side of 0 the input was.
    from_output = negative_slope >= 0

    def gradient(grad: Tensor, saved: Tensor) -> Tensor:
        return aten.leaky_relu_backward.grad_input(grad, saved, negative_slope, from_output, grad_input=grad)

    return elementwise(
        lambda z: torch.nn.functional.leaky_relu(z, negative_slope),
        gradient=gradient,
        saves="h" if from_output else "z",
        inplace=(lambda z: aten.leaky_relu_(z, negative_slope)) if from_output else None,
        out=lambda z, out: aten.leaky_relu.out(z, negative_slope, out=out),
        negative_slope=negative_slope if from_output else None,
        exact_zeros=negative_slope == 0,
    )


@ActivationRow(
    formula="x if x > 0 else a*x, a learned from init, one a layer or unit",
    family="rectifier",
    gain=sqrt(2 / (1 + 0.25**2)),
    year=2015,
    source="He et al. 2015, Delving Deep into Rectifiers",
    truth="x if x > 0 else init*x",
    parameters={"init": 0.25},
    ranges={"init": (-1.0, 1.0)},
    learned=("a",),
    start=lambda left, _: -left,
    kinks=(0.0,),
)
def prelu(init: float) -> Activation:
    """The slope at 0 is a."""
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        slope = learned[0] if learned else init
        return torch.where(z > 0, z, slope * z)

    return Activation(function=function, learned=(init,))


@ActivationRow(
    formula="x if x > 0 else s*x, s ~ U(lower, upper); evaluated with s = (lower+upper)/2",
    family="rectifier",
    gain=sqrt(2 / (1 + (11 / 48) ** 2)),
    year=2015,
    source="Xu et al. 2015; parameters as in torch",
    truth="x if x > 0 else (lower+upper)/2*x",
    parameters={"lower": 1 / 8, "upper": 1 / 3},
    ranges={"lower": (0.0, 1.0), "upper": (0.0, 1.0)},
    noisy=True,
    kinks=(0.0,),
)
def rrelu(lower: float, upper: float) -> Activation:
    """Each entry has an s of its own. Xu et al. divide by a ~ U(3, 8) and evaluate with x/5.5 = 0.1818 x."""
    import torch

    mean = (lower + upper) / 2

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return torch.where(z > 0, z, (mean if noise is None else noise.to(z.dtype)) * z)

    def draw(shape: Sequence[int], generator: Generator) -> Tensor:
        return torch.empty(tuple(shape), device=generator.device).uniform_(lower, upper, generator=generator)

    return Activation(function=function, draw=draw)


@ActivationRow(
    formula="scale*max(0, x)**2 + bias, both learned, one of each a layer or unit",
    family="rectifier",
    gain=sqrt(2 / 3),
    year=2022,
    source="Yu et al. 2022, MetaFormer Baselines for Vision; first values as in their code",
    truth="scale*max(0, x)**2 + bias",
    parameters={"scale": 1.0, "bias": 0.0},
    ranges={"scale": (0.001, 100.0), "bias": (-100.0, 100.0)},
    learned=("scale", "bias"),
)
def star_relu(scale: float, bias: float) -> Activation:
    """Of a standard normal input, scale 0.8944 and bias -0.4472 make mean 0 and variance 1."""
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        s, b = learned or (scale, bias)
        positive = torch.relu(z)
        # The square alone overflows before s times it does.
        return s * positive * positive + b

    return Activation(function=function, learned=(scale, bias))


_POLYNOMIAL_NAMES = ("a0", "a1", "a2", "a3")


@ActivationRow(
    formula="a0 + a1*r + a2*r**2 + a3*r**3 with r = max(0, x), all learned",
    family="rectifier",
    gain=0.66293129128194,
    year=2024,
    source="Zhuo et al. 2024, Polynomial Composition Activations (arXiv 2411.03884), PolyReLU of order 3",
    truth="a0+max(0,x)*(a1+max(0,x)*(a2+max(0,x)*a3))",
    parameters={"a0": 0.0, "a1": 1 / 3, "a2": 1 / 3, "a3": 1 / 3},
    ranges=dict.fromkeys(_POLYNOMIAL_NAMES, (-5.0, 5.0)),
    learned=_POLYNOMIAL_NAMES,
)
def poly_relu(a0: float, a1: float, a2: float, a3: float) -> Activation:
    """Their PolyNorm divides each power by its root mean square over the layer: no function of one unit."""
    import torch

    starts = (a0, a1, a2, a3)

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        wide = torch.promote_types(z.dtype, torch.float32)
        c0, c1, c2, c3 = (torch.as_tensor(value, dtype=wide) for value in (learned or starts))
        r = torch.relu(z.to(wide))
        return (c0 + r * (c1 + r * (c2 + r * c3))).to(z.dtype)

    return Activation(function=function, learned=starts)
