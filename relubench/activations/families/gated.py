"""The GLU family and maxout: activations of several pre-activation columns a unit.

The columns lie along `dim` chunk after chunk: all of a, then all of b. The second half is the gate, as in
torch.nn.functional.glu; Shazeer 2020 writes the gate first, which only exchanges the names of the two weight matrices.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from relubench.activations.definition import Activation, plain
from relubench.activations.families import classic, rectifiers, smooth
from relubench.activations.row import ActivationRow

if TYPE_CHECKING:
    from torch import Tensor

_SHAZEER = "Shazeer 2020, GLU Variants Improve Transformer"


def _gated(gate: Activation) -> Activation:
    """f(a, b) = a g(b)."""
    import torch

    gate_gradient, gate_out = gate.gradient, gate.out
    assert gate_gradient is not None and gate_out is not None

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        a, b = z.chunk(2, dim)
        return a * gate.function(b)

    def gradient(grad: Tensor, z: Tensor, dim: int = -1, /) -> Tensor:
        a, b = z.chunk(2, dim)
        gate_values = gate.function(b)
        input_grad = torch.empty_like(z)
        grad_a, grad_b = input_grad.chunk(2, dim)
        torch.mul(grad, gate_values, out=grad_a)
        grad_b.copy_(gate_gradient(grad.mul_(a), b if gate.saves == "z" else gate_values))
        return input_grad

    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        a, b = z.chunk(2, dim)
        return gate_out(b, out).mul_(a)

    return Activation(
        function=function,
        inputs_per_unit=2,
        combines="product",
        gradient=gradient,
        out=out,
        exact_zeros=gate.exact_zeros,
    )


@ActivationRow(
    formula="a*sigmoid(b)",
    family="gated",
    gain=1.8462285453386,
    year=2016,
    source="Dauphin et al. 2016",
    inputs_per_unit=2,
)
def glu() -> Activation:
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return torch.nn.functional.glu(z, dim)

    def gradient(grad: Tensor, z: Tensor, dim: int = -1, /) -> Tensor:
        return torch.ops.aten.glu_backward(grad, z, dim)

    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        return torch.ops.aten.glu.out(z, dim, out=out)

    return Activation(function=function, inputs_per_unit=2, combines="product", gradient=gradient, out=out)


@ActivationRow(formula="a*b", family="gated", gain=1.0, year=2020, source=_SHAZEER, inputs_per_unit=2)
def bilinear() -> Activation:
    """After Mnih & Hinton 2007."""
    # The gate is b itself; identity would copy it first.
    return _gated(replace(classic.identity.build(), function=plain(lambda b: b)))


@ActivationRow(formula="a*max(0, b)", family="gated", gain=sqrt(2), year=2020, source=_SHAZEER, inputs_per_unit=2)
def reglu() -> Activation:
    return _gated(rectifiers.relu.build())


@ActivationRow(formula="a*gelu(b)", family="gated", gain=1.5335304411955, year=2020, source=_SHAZEER, inputs_per_unit=2)
def geglu() -> Activation:
    return _gated(smooth.gelu.build())


@ActivationRow(formula="a*silu(b)", family="gated", gain=1.6765324703311, year=2020, source=_SHAZEER, inputs_per_unit=2)
def swiglu() -> Activation:
    return _gated(smooth.silu.build())


@ActivationRow(
    formula="max of the pieces' columns",
    family="gated",
    gain=1.0,
    year=2013,
    source="Goodfellow et al. 2013",
    parameters={"pieces": 2},
    ranges={"pieces": (2, 16)},
    inputs_per_unit="pieces",
    kinks=(),
)
def maxout(pieces: int) -> Activation:
    """The gradient goes to the first of equals."""
    import torch

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return split_pieces(z, dim).max(dim=axis_of_pieces(z, dim)).values

    def gradient(grad: Tensor, z: Tensor, dim: int = -1, /) -> Tensor:
        axis = axis_of_pieces(z, dim)
        # Of equals max's indices name the first too, and on a processor argmax takes longer.
        winner = split_pieces(z, dim).max(dim=axis, keepdim=True).indices
        input_grad = torch.zeros_like(z)
        split_pieces(input_grad, dim).scatter_(axis, winner, grad.unsqueeze(axis))
        return input_grad

    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        return torch.amax(split_pieces(z, dim), dim=axis_of_pieces(z, dim), out=out)

    def split_pieces(z: Tensor, dim: int) -> Tensor:
        return z.unflatten(dim, (pieces, -1))

    def axis_of_pieces(z: Tensor, dim: int) -> int:
        return dim % z.dim()

    return Activation(function=function, inputs_per_unit=pieces, combines="maximum", gradient=gradient, out=out)
