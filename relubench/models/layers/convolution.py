"""Layers of images: convolutions, max pooling, and the step from images to rows.

Shapes: P member, B batch, I/O channels in/out, C channels, YX image, K side of a kernel. One network drops P: x
[B, C, Y, X]; a stack has x [P, B, C, Y, X].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer, Parameter


class Convolution(Layer):
    """z = W * x + b with odd square kernels, stride 1, 'same' padding; W [O, I, K, K] (in a stack with P in front).

    A stack is computed member by member: its kernels are long, and what surrounds them is shared.
    """

    def __init__(self, weight: Parameter, bias: Parameter, batched: bool, bf16: bool) -> None:
        self.weight, self.bias, self.batched, self.bf16 = weight, bias, batched, bf16
        self.parameters = (weight, bias)
        self.x = weight.value

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if training:
            self.x = x
        w, b = self.weight.value, self.bias.value
        if not self.batched:
            return self._convolve(x, w, b)
        return torch.stack([self._convolve(*member) for member in zip(x, w, b, strict=True)])

    def _convolve(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if self.bf16:
            return F.conv2d(x.bfloat16(), w.bfloat16(), b.bfloat16(), padding=w.shape[-1] // 2).float()
        return F.conv2d(x, w, b, padding=w.shape[-1] // 2)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        w = self.weight.value
        if not self.batched:
            below, grad_w, grad_b = self._gradients(grad, self.x, w, first)
        else:
            members = [self._gradients(*member, first) for member in zip(grad, self.x, w, strict=True)]
            belows, grads_w, grads_b = zip(*members, strict=True)
            grad_w, grad_b = torch.stack(grads_w), torch.stack(grads_b)
            below = grad if first else torch.stack(belows)
        update.gradient(self.weight, grad_w)
        update.gradient(self.bias, grad_b)
        return below

    def _gradients(self, grad: Tensor, x: Tensor, w: Tensor, first: bool) -> tuple[Tensor, Tensor, Tensor]:
        if self.bf16:
            grad, x, w = grad.bfloat16(), x.bfloat16(), w.bfloat16()
        pad = [w.shape[-1] // 2] * 2
        below, grad_w, grad_b = torch.ops.aten.convolution_backward(
            grad, x, w, [w.shape[0]], [1, 1], pad, [1, 1], False, [0, 0], 1, [not first, True, True]
        )
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
