"""A denoising autoencoder over one hidden layer (Vincent et al. 2008; Glorot, Bordes & Bengio 2011, section 3.2).

    code h = s * f(W noisy(x) + b), as the network computes it;  r = g(h D + c) is held against a target made of x

The reconstruction g and its cost (a sum over units, a mean over the batch) are one of:

    cross-entropy   sigmoid, cross-entropy; targets in 0..1 (sigmoid and tanh codes, images)
    softplus        softplus, squared error: the paper's strategy 1, for images
    scaled          codes divided by their largest value, sigmoid, cross-entropy: strategy 2, for text
    linear          identity, squared error: strategy 3
    rectifier       max(0, x), squared error: strategy 4

Shapes: B batch, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from relubench.models.layers.base import Layer
from relubench.models.layers.dense import Linear
from relubench.models.optimizers import Sgd


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """An output layer: r = mean(a), and the cost's gradient in a from a, r and the target."""

    mean: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


_CROSS_ENTROPY = Reconstruction(torch.sigmoid, lambda a, r, t: r - t)

RECONSTRUCTIONS: dict[str, Reconstruction] = {
    "cross-entropy": _CROSS_ENTROPY,
    "scaled": _CROSS_ENTROPY,
    "softplus": Reconstruction(F.softplus, lambda a, r, t: torch.sigmoid(a).mul_(r - t).mul_(2.0)),
    "linear": Reconstruction(lambda a: a, lambda a, r, t: (r - t).mul_(2.0)),
    "rectifier": Reconstruction(torch.relu, lambda a, r, t: (r - t).mul_(2.0).mul_(a > 0)),
}


def corrupt(x: Tensor, noise: str, level: float, low: float, high: float, generator: torch.Generator) -> Tensor:
    """x with each value lost with probability `level`, or blurred.

    masking: the lost ones are 0; salt-pepper: they are `low` or `high`, one as often as the other; gaussian: normal
    noise with the standard deviation `level` on every value.
    """
    if noise == "gaussian":
        return torch.empty_like(x).normal_(std=level, generator=generator).add_(x) if level else x.clone()
    u = torch.empty_like(x).uniform_(generator=generator)
    if noise == "masking":
        return u.ge_(level).mul_(x)
    ends = torch.where(u < 0.5 * level, low, high)
    return torch.where(u < level, ends, x)


class Autoencoder:
    """An encoder (the network's own layers: affine, activation, sign flip) and its decoder, trained by plain SGD."""

    def __init__(
        self,
        encoder: Sequence[Layer],
        decoder: Tensor | None,
        bias: Tensor,
        *,
        reconstruction: str,
        rate: float,
        l1: float = 0.0,
    ) -> None:
        """`decoder` [H, I]; None: the encoder's weights, tied. `bias` [I]. All are changed in place."""
        first = encoder[0]
        assert isinstance(first, Linear)
        self.affine, self.after = first, list(encoder[1:])
        self.tied = decoder is None
        self.decoder, self.bias = first.weight.value if decoder is None else decoder, bias
        self.parameters = [parameter for layer in encoder for parameter in layer.parameters]
        self.update = Sgd(self.parameters, [rate], 0.0, 0.0, batched=False)
        self.output = RECONSTRUCTIONS[reconstruction]
        self.rate, self.l1 = rate, l1

    def code(self, x: Tensor, training: bool = False) -> Tensor:
        """h [B, H]."""
        h = self.affine.forward(x, training)
        for layer in self.after:
            h = layer.forward(h, training)
        return h

    def reconstruct(self, x: Tensor) -> Tensor:
        """r [B, I] of a (corrupted) input."""
        return self.output.mean(torch.addmm(self.bias, self.code(x), self.decoder))

    def step(self, noisy: Tensor, target: Tensor) -> Tensor:
        """One update on a batch, both [B, I]; returns the sum of squared reconstruction errors []."""
        scale = 1.0 / len(noisy)
        h = self.code(noisy, training=True)
        a = torch.addmm(self.bias, h, self.decoder)
        r = self.output.mean(a)
        error = (r - target).view(-1)
        error = torch.dot(error, error)
        grad_a = self.output.gradient(a, r, target).mul_(scale)
        grad = torch.mm(grad_a, self.decoder.t())
        if self.l1:
            grad = grad.add_(torch.sign(h), alpha=self.l1 * scale)
        for layer in reversed(self.after):
            grad = layer.backward(grad, self.update, first=False)
        self._descend(grad, noisy, h, grad_a)
        return error

    def _descend(self, delta: Tensor, noisy: Tensor, h: Tensor, grad_a: Tensor) -> None:
        rate = -self.rate
        if self.tied:
            # W's two gradients in one product: the weights are read and written once.
            rows = torch.cat([delta, h]), torch.cat([noisy, grad_a])
            self.affine.weight.value.addmm_(rows[0].t(), rows[1], alpha=rate)
        else:
            self.affine.weight.value.addmm_(delta.t(), noisy, alpha=rate)
            self.decoder.addmm_(h.t(), grad_a, alpha=rate)
        self.affine.bias.value.add_(delta.sum(dim=0), alpha=rate)
        self.bias.add_(grad_a.sum(dim=0), alpha=rate)

    def tensors(self) -> Mapping[str, Tensor]:
        """All that a checkpoint holds, random generators aside."""
        tensors = {name: value for parameter in self.parameters for name, value in parameter.tensors()}
        buffers = [buffer for layer in self.after for buffer in layer.buffers]
        tensors |= {f"buffer/{place}": buffer.value for place, buffer in enumerate(buffers)}
        return {**tensors, "decoder-bias": self.bias} | ({} if self.tied else {"decoder": self.decoder})
