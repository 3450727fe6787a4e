"""Layers with an explicit forward and backward pass: no tape where a closed form exists.

Every layer works for one network or, where `stacked`, for P networks whose parameters lie along a leading dimension;
the member's numbers agree within rounding. `backward` hands the layer's gradients to the optimizer itself, after it has
formed the gradient of its own input, so that an update can be fused with the product that makes the gradient.

Shapes: P member, B batch, I/O features in/out, F features, C channels, YX image. One network drops P: x [B, F] or
[B, C, Y, X]; a stack has x [P, B, F] or [P, B, C, Y, X]. Features lie in dimension -1, channels in dimension -3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations.definition import Activation, trainable
from relubench.models.architecture import KERNEL
from relubench.models.matmul import TURNED_BATCH, Library, evaluated, onednn_linear, storage
from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import MemberNoise, ModuleNoise

if TYPE_CHECKING:
    from relubench.models.kernels.layer import Passes

BATCHNORM_MOMENTUM, NORM_EPS = 0.1, 1e-5
"""torch.nn.BatchNorm's defaults."""


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
    zero_counts: Sequence[Tensor] = ()
    """Of a layer that holds hidden activations itself: for each, as of the last evaluated batch, the sum over examples
    of the share of exact zeros; [P]."""

    @abstractmethod
    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The layer's output; in training it keeps what `backward` needs."""

    @abstractmethod
    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """The gradient of the input from that of the output (which it may overwrite); `first`: nobody reads it."""


class Affine(Layer):
    """z = x W^T + b, W [O, I] and b [O] (in a stack [P, O, I] and [P, 1, O])."""

    def __init__(self, weight: Parameter, bias: Parameter, stacked: bool, bf16: bool, library: Library) -> None:
        self.weight, self.bias, self.stacked, self.bf16 = weight, bias, stacked, bf16
        self.library: Library = library
        self.parameters = (weight, bias)
        self.passes: Passes | None = None
        """The layer's kernels, where it has any."""
        self.x = weight.value
        self.outputs: dict[tuple[int, int], Tensor] = {}
        self.turned_outputs: dict[tuple[int, int], Tensor] = {}
        self.input_grads: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if self.passes is not None:
            return self.passes.forward(x) if training else self.passes.evaluate(x)
        w, b = self.weight.value, self.bias.value
        if training:
            self.x = x
        if self.bf16:
            return torch.matmul(x.bfloat16(), w.mT.bfloat16()).float().add_(b)
        if self.stacked:
            z = storage(self.outputs, x, w.shape[-2]) if training else None
            return torch.baddbmm(b, x, w.mT, out=z)
        if not training or self.library == "onednn":
            return evaluated(self.library, x, w, b)
        z = storage(self.outputs, x, w.shape[-2])
        if self.library == "turned" and x.shape[0] <= TURNED_BATCH:
            turned = storage(self.turned_outputs, w, x.shape[0])
            return torch.add(torch.mm(w, x.t(), out=turned).t(), b, out=z)
        return torch.addmm(b, x, w.mT, out=z)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        if self.passes is not None:
            return self.passes.backward(grad, update, first)
        below = grad if first else self._below(grad)
        if self.bf16:
            update.gradient(self.weight, torch.matmul(grad.mT.bfloat16(), self.x.bfloat16()).float())
        else:
            update.product(self.weight, grad, self.x)
        update.gradient(self.bias, grad.sum(dim=-2, keepdim=self.stacked))
        return below

    def _below(self, grad: Tensor) -> Tensor:
        """The gradient of the input, grad W [B, I]."""
        w = self.weight.value
        if self.bf16:
            return torch.matmul(grad.bfloat16(), w.bfloat16()).float()
        if self.library == "onednn":
            return onednn_linear(grad, w.mT, None)
        below = storage(self.input_grads, grad, w.shape[-1])
        return torch.bmm(grad, w, out=below) if self.stacked else torch.mm(grad, w, out=below)


class Convolution(Layer):
    """z = W * x + b with odd square kernels, stride 1, 'same' padding; W [O, I, K, K] (in a stack with P in front).

    A stack is computed member by member: its kernels are long, and what surrounds them is shared.
    """

    def __init__(self, weight: Parameter, bias: Parameter, stacked: bool, bf16: bool) -> None:
        self.weight, self.bias, self.stacked, self.bf16 = weight, bias, stacked, bf16
        self.parameters = (weight, bias)
        self.x = weight.value

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if training:
            self.x = x
        w, b = self.weight.value, self.bias.value
        if not self.stacked:
            return self._convolve(x, w, b)
        return torch.stack([self._convolve(*one) for one in zip(x, w, b, strict=True)])

    def _convolve(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if self.bf16:
            return F.conv2d(x.bfloat16(), w.bfloat16(), b.bfloat16(), padding=KERNEL // 2).float()
        return F.conv2d(x, w, b, padding=KERNEL // 2)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        w = self.weight.value
        if not self.stacked:
            below, grad_w, grad_b = self._gradients(grad, self.x, w, first)
        else:
            members = [self._gradients(*one, first) for one in zip(grad, self.x, w, strict=True)]
            grad_w, grad_b = torch.stack([one[1] for one in members]), torch.stack([one[2] for one in members])
            below = grad if first else torch.stack([one[0] for one in members])
        update.gradient(self.weight, grad_w)
        update.gradient(self.bias, grad_b)
        return below

    def _gradients(self, grad: Tensor, x: Tensor, w: Tensor, first: bool) -> tuple[Tensor, Tensor, Tensor]:
        if self.bf16:
            grad, x, w = grad.bfloat16(), x.bfloat16(), w.bfloat16()
        pad = [KERNEL // 2] * 2
        found = torch.ops.aten.convolution_backward(
            grad, x, w, [w.shape[0]], [1, 1], pad, [1, 1], False, [0, 0], 1, [not first, True, True]
        )
        below, grad_w, grad_b = found
        return (grad if first else below.float()), grad_w.float(), grad_b.float()


class MaxPool(Layer):
    """The largest of each 2 x 2 pixels, stride 2; an odd last row or column is dropped, as in torch."""

    def __init__(self) -> None:
        self.x = self.indices = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        lead, images = x.shape[:-3], x.flatten(0, -4)
        if not training:
            pooled = F.max_pool2d(images, 2)
        else:
            self.x = images
            pooled, self.indices = torch.ops.aten.max_pool2d_with_indices(images, [2, 2], [2, 2])
        return pooled.unflatten(0, lead)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        below = torch.ops.aten.max_pool2d_with_indices_backward(
            grad.flatten(0, -4), self.x, [2, 2], [2, 2], [0, 0], [1, 1], False, self.indices
        )
        return below.unflatten(0, grad.shape[:-3])


class Flatten(Layer):
    """[..., C, Y, X] as [..., C*Y*X]."""

    def __init__(self) -> None:
        self.shape = torch.Size()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.shape = x.shape[-3:]
        return x.flatten(-3)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad.unflatten(-1, self.shape)


class ClosedForm(Layer):
    """h = f(z) with a hand-written gradient, over z's own storage where that is possible."""

    hidden = True

    def __init__(self, activation: Activation, dim: int) -> None:
        assert activation.gradient is not None
        self.activation, self.dim, self.gradient = activation, dim, activation.gradient
        self.saved = torch.empty(0)
        self.outputs: dict[torch.Size, Tensor] = {}
        # Whether in training the kernels of the layers below and above do its work.
        self.done_forward = self.done_backward = False

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if training and self.done_forward:
            self.saved = x
            return x
        if self.activation.inplace is not None:
            self.saved = h = self.activation.inplace(x)
            return h
        if training and self.activation.out is not None and self.activation.columns == 1:
            if x.shape not in self.outputs:
                self.outputs[x.shape] = torch.empty_like(x)
            h = self.activation.out(x, self.outputs[x.shape], self.dim)
        else:
            h = self.activation.function(x, dim=self.dim)
        self.saved = x if self.activation.saves == "z" else h
        return h

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad if self.done_backward else self.gradient(grad, self.saved, self.dim)


class Differentiated(Layer, ABC):
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
            return self.apply(x, [one.value for one in self.parameters], training)
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.leaves = [one.value.detach().requires_grad_() for one in self.parameters]
            self.y = self.apply(self.x, self.leaves, training)
        return self.y.detach()

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        below, *grads = torch.autograd.grad(
            self.y, [self.x, *self.leaves], grad, allow_unused=True, materialize_grads=True
        )
        for parameter, one in zip(self.parameters, grads, strict=True):
            update.gradient(parameter, one)
        self.y = self.x
        return below


class Tape(Differentiated):
    """h = f(z) for activations that learn, that draw noise, or whose gradient has no closed form here."""

    hidden = True

    def __init__(
        self, activation: Activation, dim: int, learned: Sequence[Parameter], noise: MemberNoise | None
    ) -> None:
        super().__init__(learned)
        self.activation, self.dim, self.noise = activation, dim, noise

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        drawn = None
        if training and self.noise is not None and self.activation.draw is not None:
            drawn = draw(self.noise, x, self.activation.draw)
        return self.activation.function(x, learned=tuple(leaves), noise=drawn, dim=self.dim)


class UserModule(Differentiated):
    """h = module(z) for a user's own nn.Module class, one instance a member, its parameters trained with the rest."""

    hidden = True

    def __init__(
        self, modules: Sequence[nn.Module], parameters: Sequence[Parameter], noise: ModuleNoise, stacked: bool
    ) -> None:
        super().__init__(parameters)
        self.modules, self.stacked = list(modules), stacked
        self.noise = self.draws = noise
        self.names = list(trainable(self.modules[0]))
        self.held = [(one, place) for place, one in enumerate(self.modules)]

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        for module in self.modules:
            module.train(training)
        if not self.stacked:
            return self._call(0, x, leaves)
        members = [[leaf[place] for leaf in leaves] for place in range(len(self.modules))]
        return torch.stack([self._call(place, *one) for place, one in enumerate(zip(x, members, strict=True))])

    def _call(self, place: int, x: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        module, parameters = self.modules[place], dict(zip(self.names, leaves, strict=True))
        with self.draws.members[place].standing_in():
            # TorchScript's modules cannot be given parameters, and have none here.
            return torch.func.functional_call(module, parameters, (x,)) if parameters else module(x)


class Norm(Differentiated):
    """batch (Ioffe & Szegedy 2015), layer (Ba et al. 2016) or rms norm (Zhang & Sennrich 2019), statistics per member.

    In images, batch norm is per channel over batch and pixels; layer and rms norm are over channels and pixels of one
    image. Scale and shift are [F] or [C] (in a stack with P in front).
    """

    def __init__(self, kind: str, parameters: Sequence[Parameter], image: bool, stacked: bool) -> None:
        super().__init__(parameters)
        self.kind, self.image, self.stacked = kind, image, stacked
        if kind == "batch":
            flat = parameters[0].value.flatten()
            self.mean, self.variance = torch.zeros_like(flat), torch.ones_like(flat)
            self.buffers = (Buffer("mean", self.mean), Buffer("variance", self.variance))

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        if self.kind == "batch":
            return self._batch(x, leaves, training)
        shape = x.shape[-3:] if self.image else x.shape[-1:]
        y = F.rms_norm(x, shape, eps=NORM_EPS) if self.kind == "rms" else F.layer_norm(x, shape, eps=NORM_EPS)
        y = y * self._spread(leaves[0])
        return y + self._spread(leaves[1]) if self.kind == "layer" else y

    def _spread(self, value: Tensor) -> Tensor:
        """[F] or [P, F] so that it lies along x's features or channels."""
        if self.stacked:
            value = value.unsqueeze(1)
        return value[..., None, None] if self.image else value

    def _batch(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        # Members side by side as channels of one call: each keeps statistics of its own.
        merged = x.transpose(0, 1).flatten(1, 2) if self.stacked else x
        y = F.batch_norm(
            merged,
            self.mean,
            self.variance,
            leaves[0].flatten(),
            leaves[1].flatten(),
            training=training,
            momentum=BATCHNORM_MOMENTUM,
            eps=NORM_EPS,
        )
        return y.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1) if self.stacked else y


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
        kept = torch.empty(shape, device=generator.device).bernoulli_(1.0 - self.probability, generator=generator)
        return kept.div_(1.0 - self.probability)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad * self.mask


def draw(noise: MemberNoise, like: Tensor, one: Callable[[Sequence[int], torch.Generator], Tensor]) -> Tensor:
    """A draw for each member from its own generator, of like's shape."""
    if len(noise.generators) == 1 and like.dim() in (2, 4):
        return one(like.shape, noise.generators[0])
    return torch.stack([one(like.shape[1:], generator) for generator in noise.generators])
