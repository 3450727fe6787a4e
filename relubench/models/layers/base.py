"""Layers with an explicit forward and backward pass: no tape where a closed form exists.

Every layer works for one network or, where `batched`, for P networks whose parameters lie along a leading dimension;
the member's numbers agree within rounding. `backward` hands the layer's gradients to the optimizer itself, after it has
formed the gradient of its own input, so that an update can be fused with the product that makes the gradient.

Shapes: P member, B batch, I/O features in/out, F features, C channels, YX image. One network drops P: x [B, F] or
[B, C, Y, X]; a stack has x [P, B, F] or [P, B, C, Y, X]. Features lie in dimension -1, channels in dimension -3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import MemberNoise


@dataclass(frozen=True, slots=True)
class Buffer:
    """State that training changes but no gradient does: every member's, side by side along dimension 0."""

    name: str
    value: Tensor


class Layer(ABC):
    """One stage of a network. What is not said otherwise has no parameters, no buffers and no noise."""

    parameters: Sequence[Parameter] = ()
    buffers: Sequence[Buffer] = ()
    held: Sequence[tuple[nn.Module, int]] = ()
    """Modules of somebody else's, each with its member: their state is taken and put back by `module_state`."""
    noise: MemberNoise | None = None
    hidden = False
    """Whether its output is a hidden activation: what sparsity is counted on and L1 acts on."""
    kind = 0
    """Of a hidden activation in a mix: which of the mix's activations it is."""
    in_loss = False
    """Whether the loss reads its input too, beside the layers above: what lies below always receives a gradient."""
    stream = False
    """Whether its output is a stream that other layers add to: then each of its features reaches the output anyway."""
    zero_counts: Sequence[Tensor] = ()
    """Of a layer that holds hidden activations itself: for each, as of the last evaluated batch, the sum over examples
    of the share of exact zeros; [P]."""

    @abstractmethod
    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The layer's output; in training it keeps what `backward` needs."""

    @abstractmethod
    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """The gradient of the input from that of the output (which it may overwrite); `first`: nobody reads it."""

    def evaluates_from(self, first_example: int) -> None:
        """Before a batch is evaluated: the place of its first example in its part, for what draws by the example."""
        return


class AutogradLayer(Layer, ABC):
    """y = g(x, parameters), differentiated by autograd over this stage alone."""

    def __init__(self, parameters: Sequence[Parameter] = ()) -> None:
        self.parameters = tuple(parameters)
        self.x = self.y = torch.empty(0)
        self.leaves: list[Tensor] = []

    @abstractmethod
    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        """g itself, made of differentiable operations on x and on the parameters' values."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            return self.apply(x, [parameter.value for parameter in self.parameters], training)
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.leaves = [parameter.value.detach().requires_grad_() for parameter in self.parameters]
            self.y = self.apply(self.x, self.leaves, training)
        return self.y.detach()

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        below, *grads = torch.autograd.grad(
            self.y, [self.x, *self.leaves], grad, allow_unused=True, materialize_grads=True
        )
        for parameter, parameter_grad in zip(self.parameters, grads, strict=True):
            update.gradient(parameter, parameter_grad)
        self.y = self.x
        return below


class SignFlip(Layer):
    """h times a fixed -1 or 1 for each unit (Glorot et al. 2011, section 3.1)."""

    def __init__(self, signs: Tensor) -> None:
        self.signs = signs

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return x * self.signs

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad * self.signs


class Dropout(Layer):
    """h times a mask of 0 and 1/(1-p), drawn for each member from its own stream (Srivastava et al. 2014)."""

    def __init__(self, probability: float, noise: MemberNoise) -> None:
        self.probability, self.noise = probability, noise
        self.mask = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            return x
        assert self.noise is not None
        self.mask = draw(self.noise, x, self._mask)
        return x * self.mask

    def _mask(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        mask = torch.empty(shape, device=generator.device).bernoulli_(1.0 - self.probability, generator=generator)
        return mask.div_(1.0 - self.probability)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad * self.mask


SELU_FLOOR = -1.7580993408473766
"""The limit of SELU at minus infinity: what an AlphaDropout puts in the place of a unit."""


class AlphaDropout(Dropout):
    """a (h m + s (1 - m)) + b with s = SELU_FLOOR and m Bernoulli(q), q = 1 - p (Klambauer et al. 2017, section 3).

    a = 1/sqrt(q + s^2 q (1 - q)) and b = -a (1 - q) s keep mean 0 and variance 1, as SELU's outputs have them.
    """

    def __init__(self, probability: float, noise: MemberNoise) -> None:
        super().__init__(probability, noise)
        keep = 1.0 - probability
        self.scale = (keep + SELU_FLOOR**2 * keep * probability) ** -0.5
        self.shift = -self.scale * probability * SELU_FLOOR

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            return x
        assert self.noise is not None
        # The mask is 0 or a; in a dropped place stands a s.
        self.mask = draw(self.noise, x, self._mask)
        dropped = (self.scale - self.mask).mul_(SELU_FLOOR)
        return torch.addcmul(dropped.add_(self.shift), x, self.mask)

    def _mask(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        mask = torch.empty(shape, device=generator.device).bernoulli_(1.0 - self.probability, generator=generator)
        return mask.mul_(self.scale)


def draw(noise: MemberNoise, like: Tensor, draw_one: Callable[[Sequence[int], torch.Generator], Tensor]) -> Tensor:
    """A draw for each member from its own generator, of like's shape."""
    if len(noise.generators) == 1 and like.dim() in (2, 4):
        return draw_one(like.shape, noise.generators[0])
    return torch.stack([draw_one(like.shape[1:], generator) for generator in noise.generators])
