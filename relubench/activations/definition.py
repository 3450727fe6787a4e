"""An activation as training uses it: a function, its closed-form gradient, and what may be done in place.

The gradients are ATen's fused backward kernels, written over `grad` where a kernel has such a variant. Where the output
tells the slope, the output is what is saved, so that one buffer serves for z and h. Infinite pre-activations are not
repaired: a network that has them has diverged, and where f takes the product of 0 and infinity, NaN says so.
Importing this does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from relubench.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class ActivationFunction(Protocol):
    """h = f(z), differentiable by autograd, out of place."""

    def __call__(
        self, z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1
    ) -> Tensor: ...


class ActivationGradient(Protocol):
    """dL/dz from dL/dh and what was saved; may overwrite and return `grad`, never `saved`."""

    def __call__(self, grad: Tensor, saved: Tensor, dim: int = -1, /) -> Tensor: ...


class ActivationInto(Protocol):
    """h = f(z) written into existing storage, which is returned; `out` must not be z's own."""

    def __call__(self, z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Activation:
    """One activation with its parameters bound.

    Where columns > 1, z's dimension `dim` holds columns*H entries, chunk after chunk, and h's holds H. `dim` means
    nothing to the others.
    """

    function: ActivationFunction
    inputs_per_unit: int = 1
    combines: Literal["", "product", "maximum"] = ""
    """How the columns become one: the first times a function of the second, or the largest; '' for one column."""
    gradient: ActivationGradient | None = None
    """Closed form, without autograd; None: differentiate `function`, as with learned parameters or noise."""
    saves: Literal["z", "h"] = "z"
    """What `gradient` reads: the pre-activation or the output."""
    inplace: Callable[[Tensor], Tensor] | None = None
    """h over z's own storage; only where saves == 'h'."""
    out: ActivationInto | None = None
    negative_slope: float | None = None
    """The function is z above 0 and negative_slope * z elsewhere, with this slope at 0: kernels compute it."""
    learned: tuple[float, ...] = ()
    """Initial values; whoever trains owns one tensor for each, broadcastable to z."""
    per_unit: bool = False
    """Whether each unit or channel has learned numbers of its own; else a layer has one of each."""
    draw: Callable[[Sequence[int], torch.Generator], Tensor] | None = None
    """Training noise for a z of that shape, on the generator's device; without it `function` is deterministic."""
    module: Callable[[], nn.Module] | None = None
    """A user's own class, one instance a member and layer; `function` then only refuses."""
    copied: bool = False
    """Whether a user's own writes into its input: `function` and `module` then work on a copy of it."""
    exact_zeros: bool = False
    """Whether it gives exact zeros over an interval; False also where nobody looked (formulas, users' own)."""


def plain(elementwise: Callable[[Tensor], Tensor]) -> ActivationFunction:
    """The same function of z, which also takes the arguments that it does not need."""

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        return elementwise(z)

    return function


def elementwise(
    function: Callable[[Tensor], Tensor],
    *,
    gradient: Callable[[Tensor, Tensor], Tensor],
    out: Callable[[Tensor, Tensor], Tensor],
    saves: Literal["z", "h"] = "z",
    inplace: Callable[[Tensor], Tensor] | None = None,
    negative_slope: float | None = None,
    exact_zeros: bool = False,
) -> Activation:
    """An activation of one column with fixed parameters, from functions that need no `dim`."""
    return Activation(
        function=plain(function),
        gradient=lambda grad, saved, dim=-1, /: gradient(grad, saved),
        saves=saves,
        inplace=inplace,
        out=lambda z, storage, dim=-1, /: out(z, storage),
        negative_slope=negative_slope,
        exact_zeros=exact_zeros,
    )


def clamped(low: float, high: float, *, exact_zeros: bool) -> Activation:
    """f(x) = min(max(x, low), high), with slope 0 at low and high."""
    import torch

    aten = torch.ops.aten
    return elementwise(
        lambda z: torch.nn.functional.hardtanh(z, low, high),
        gradient=lambda grad, h: aten.hardtanh_backward.grad_input(grad, h, low, high, grad_input=grad),
        saves="h",
        inplace=lambda z: aten.hardtanh_(z, low, high),
        out=lambda z, out: aten.hardtanh.out(z, low, high, out=out),
        exact_zeros=exact_zeros,
    )


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained: a frozen one (requires_grad=False) is not."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def check_same_parameters(before: Mapping[str, nn.Parameter], module: nn.Module, label: str) -> None:
    """Raises UsageError where a module has other trained parameters than before its forward: nobody trains those."""
    now = trainable(module)
    names = [name for name in {**before, **now} if now.get(name) is not before.get(name)]
    if names:
        verb = "replaces" if names[0] in before else "makes"
        raise UsageError(
            f"{label} {verb} its parameter {names[0]} in forward: what is trained are those that it was made with",
            "make it in __init__, and change it in place: with torch.no_grad(): self.weight.copy_(...)",
        )


def fixed(make: Callable[[], nn.Module]) -> nn.Module:
    """An instance with the same initial values every time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()
