"""The ways in which an activation is computed here: eager, into storage, in place, in a population, compiled.

Shapes: C columns, N points; z [C, N], h [N]. P member, B batch, F features in a population.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from relubench.activations.checks.trial import flat_call
from relubench.activations.definition import Activation, fixed
from relubench.models.layers.activation import AnalyticActivation, AutogradActivation
from relubench.models.optimizers import Parameter, Sgd
from relubench.system import compiler

MEMBERS, FEATURES = 4, 64


def forward_forms(activation: Activation, z: Tensor, *, compiled: bool) -> Iterator[tuple[str, Tensor]]:
    """(form, h [N]) for every form of the forward pass, in evaluation; the first is the eager one."""
    function = evaluated(activation, z.dtype)
    flat = z.flatten()
    with torch.no_grad():
        yield "eager", function(flat.clone())
        if activation.out is not None:
            yield "into storage", activation.out(flat, torch.empty_like(z[0]), 0)
        if activation.inplace is not None:
            yield "in place", activation.inplace(flat.clone())
        if activation.module is None:
            yield "population", _population(activation, z, None)
        if compiled:
            yield "compiled", compiler.compiled(function)(flat.clone())


def backward_forms(activation: Activation, z: Tensor, *, compiled: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(form, slopes [C, N], h [N]) for every form of the backward pass from gradients of 1, without noise."""
    function = evaluated(activation, z.dtype)
    flat = z.flatten()
    ones = torch.ones_like(z[0])
    if activation.gradient is not None:
        with torch.no_grad():
            h = function(flat)
            saved = flat if activation.saves == "z" else h
            yield "eager", activation.gradient(ones.clone(), saved, 0).view_as(z), h
            if activation.module is None:
                yield "population", _population(activation, z, ones), h
    else:
        yield "eager", *_by_autograd(function, z, ones)
    if compiled:
        yield "compiled", *_by_autograd(compiler.compiled(function), z, ones)


def evaluated(activation: Activation, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """f of z [C*N], chunk after chunk, as in evaluation: what is learned at its start, no noise."""
    return _function(activation, dtype, dtype)


def twin(activation: Activation, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The same function of float64 tensors, its parameters at the values that they have in `dtype`."""
    return _function(activation, dtype, torch.float64)


def _function(
    activation: Activation, parameter_dtype: torch.dtype, compute_dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    if activation.module is not None:
        return flat_call(fixed(activation.module).to(parameter_dtype).to(compute_dtype).eval(), activation)
    learned = tuple(torch.tensor([value], dtype=parameter_dtype).to(compute_dtype) for value in activation.learned)

    def function(z: Tensor) -> Tensor:
        return activation.function(z, learned=learned, dim=0)

    return function


def _by_autograd(function: Callable[[Tensor], Tensor], z: Tensor, ones: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = z.flatten().requires_grad_()
        # Whoever works in place works on this copy.
        h = function(x.clone())
        (slopes,) = torch.autograd.grad(h, x, ones)
    return slopes.view_as(z), h.detach()


def _population(activation: Activation, z: Tensor, ones: Tensor | None) -> Tensor:
    """The engine's own layer on a stack of members: h [N], or with gradients of `ones` the slopes [C, N]."""
    columns, points = z.shape
    padding = -points % (MEMBERS * FEATURES)
    padded = torch.nn.functional.pad(z, (0, padding))
    # [C, P, B, F] to [P, B, C*F], chunk after chunk along the features.
    batch = padded.view(columns, MEMBERS, -1, FEATURES).permute(1, 2, 0, 3).flatten(-2).contiguous()
    learned = [
        Parameter(str(index), torch.full((MEMBERS, 1, 1), value), False)
        for index, value in enumerate(activation.learned)
    ]
    for parameter in learned:
        parameter.value = parameter.value.to(z.dtype)
    is_analytic = activation.gradient is not None
    layer = AnalyticActivation(activation, -1) if is_analytic else AutogradActivation(activation, -1, learned, None)
    h = layer.forward(batch, training=True)
    if ones is None:
        return h.reshape(-1)[:points]
    grad = torch.ones_like(h)
    no_update = Sgd([Parameter("none", torch.zeros(1), False)], [math.nan], 0.0, 0.0, batched=False)
    slopes = layer.backward(grad, no_update, first=False)
    flat_slopes = slopes.view(MEMBERS, -1, columns, FEATURES).permute(2, 0, 1, 3).reshape(columns, -1)
    return flat_slopes[:, :points]
