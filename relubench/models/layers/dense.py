"""Dense layers: z = x W^T + b, by PyTorch, by oneDNN or by generated kernels.

Shapes: P member, B batch, I/O features in/out. One network drops P: x [B, I]; a stack has x [P, B, I].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relubench.models.backends.question import TURNED_BATCH
from relubench.models.layers.base import Layer
from relubench.models.matmul import Library, evaluated, onednn_linear, storage
from relubench.models.optimizers import Optimizer, Parameter

if TYPE_CHECKING:
    from relubench.models.kernels.layer import KernelLinear


class Linear(Layer):
    """z = x W^T + b, W [O, I] and b [O] (in a stack [P, O, I] and [P, 1, O])."""

    def __init__(self, weight: Parameter, bias: Parameter, batched: bool, bf16: bool, library: Library) -> None:
        self.weight, self.bias, self.batched, self.bf16 = weight, bias, batched, bf16
        self.library: Library = library
        self.parameters = (weight, bias)
        self.passes: KernelLinear | None = None
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
        if self.batched:
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
        update.gradient(self.bias, grad.sum(dim=-2, keepdim=self.batched))
        return below

    def _below(self, grad: Tensor) -> Tensor:
        """The gradient of the input, grad W [B, I]."""
        w = self.weight.value
        if self.bf16:
            return torch.matmul(grad.bfloat16(), w.bfloat16()).float()
        if self.library == "onednn":
            return onednn_linear(grad, w.mT, None)
        below = storage(self.input_grads, grad, w.shape[-1])
        return torch.bmm(grad, w, out=below) if self.batched else torch.mm(grad, w, out=below)
