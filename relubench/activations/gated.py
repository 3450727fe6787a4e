"""Activations of several pre-activation columns a unit: the GLU family and maxout.

The columns lie along `dim` chunk after chunk: all of a, then all of b. The second half is the gate, as in
torch.nn.functional.glu; Shazeer 2020 writes the gate first, which only exchanges the names of the two weight matrices.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from relubench.activations import elementwise
from relubench.activations.definition import Activation, plain


def glu() -> Activation:
    """f(a, b) = a sigmoid(b). Dauphin et al. 2016."""

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return torch.nn.functional.glu(z, dim)

    def gradient(grad: Tensor, z: Tensor, dim: int = -1, /) -> Tensor:
        return torch.ops.aten.glu_backward(grad, z, dim)

    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        return torch.ops.aten.glu.out(z, dim, out=out)

    return Activation(function=function, inputs_per_unit=2, combines="product", gradient=gradient, out=out)


def bilinear() -> Activation:
    """f(a, b) = a b. Shazeer 2020, after Mnih & Hinton 2007."""
    # The gate is b itself; identity() would copy it first.
    return _gated(replace(elementwise.identity(), function=plain(lambda b: b)))


def reglu() -> Activation:
    """f(a, b) = a max(0, b). Shazeer 2020."""
    return _gated(elementwise.relu())


def geglu() -> Activation:
    """f(a, b) = a b Phi(b). Shazeer 2020."""
    return _gated(elementwise.gelu(approximate="none"))


def swiglu() -> Activation:
    """f(a, b) = a b sigmoid(b). Shazeer 2020."""
    return _gated(elementwise.silu())


def maxout(pieces: int) -> Activation:
    """f(z_1 .. z_k) = max_i z_i; the gradient goes to the first of equals. Goodfellow et al. 2013."""

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return _split_pieces(z, dim).max(dim=_piece_axis(z, dim)).values

    def gradient(grad: Tensor, z: Tensor, dim: int = -1, /) -> Tensor:
        axis = _piece_axis(z, dim)
        # Of equals max's indices name the first too, and on a processor argmax takes longer.
        winner = _split_pieces(z, dim).max(dim=axis, keepdim=True).indices
        input_grad = torch.zeros_like(z)
        _split_pieces(input_grad, dim).scatter_(axis, winner, grad.unsqueeze(axis))
        return input_grad

    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        return torch.amax(_split_pieces(z, dim), dim=_piece_axis(z, dim), out=out)

    def _split_pieces(z: Tensor, dim: int) -> Tensor:
        return z.unflatten(dim, (pieces, -1))

    return Activation(
        function=function,
        inputs_per_unit=pieces,
        combines="maximum",
        gradient=gradient,
        out=out,
    )


def _gated(gate: Activation) -> Activation:
    """f(a, b) = a g(b)."""
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


def _piece_axis(z: Tensor, dim: int) -> int:
    """The axis that holds the pieces once `dim` is split into (pieces, H)."""
    return dim % z.dim()
