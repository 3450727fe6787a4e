"""What a Transformer is made of beside dense layers and activations, with explicit gradients.

A network of this kind is one network, never a stack of them. Between its layers a batch is rows [R, D], a row for each
character of each window (R = B T), so that dense layers and activations are those of an mlp. Storage is made once: to
allocate some megabytes anew at every step takes longer than the arithmetic on them. The sums of a stream and of its
gradient are never written into storage that another layer still reads.

Shapes: B windows, T characters of one, R = B T rows, D features, H heads, E features of a head (D = H E).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.layers.normalisation import NORM_EPS
from relubench.models.layers.residual import Fork
from relubench.models.matmul import storage
from relubench.models.optimizers import Optimizer, Parameter

ROTARY_BASE = 10_000.0
"""Su et al. 2021, section 3.2.2."""

Storage = dict[tuple[int, int], Tensor]


class Embedding(Layer):
    """The row of the weights [256, D] of each character [B, T], as rows [R, D]."""

    stream = True

    def __init__(self, weight: Parameter) -> None:
        self.weight, self.parameters = weight, (weight,)
        self.index = torch.empty(0, dtype=torch.int64)
        self.outputs: Storage = {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        index = x.reshape(-1)
        if not training:
            return self.weight.value.index_select(0, index)
        self.index = index
        key = (len(index), self.weight.value.shape[1])
        if key not in self.outputs:
            self.outputs[key] = self.weight.value.new_empty(key)
        return torch.index_select(self.weight.value, 0, index, out=self.outputs[key])

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        characters = self.weight.value.shape[0]
        update.gradient(self.weight, torch.ops.aten.embedding_dense_backward(grad, self.index, characters, -1, False))
        return grad


class StreamSum(Layer):
    """x0 + x, with x0 the fork's; the gradient of either is that of the sum."""

    stream = True

    def __init__(self, fork: Fork) -> None:
        self.fork = fork
        self.outputs: Storage = {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        x0, self.fork.x = self.fork.x, x.new_empty(0)
        if not training:
            return x0 + x
        return torch.add(x0, x, out=storage(self.outputs, x, x.shape[-1]))

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        self.fork.grad = grad
        return grad


class StreamRms(Layer):
    """scale x / root mean square of each row (Zhang & Sennrich 2019)."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        (self.scale,) = self.parameters
        self.inverse = torch.empty(0)
        self.normed: Storage = {}
        self.outputs: Storage = {}
        self.x = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square()
        inverse = (square / x.shape[-1] + NORM_EPS).rsqrt()
        if not training:
            return x * inverse * self.scale.value
        self.inverse = inverse
        self.x = torch.mul(x, inverse, out=storage(self.normed, x, x.shape[-1]))
        return torch.mul(self.x, self.scale.value, out=storage(self.outputs, x, x.shape[-1]))

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """With n = x / rms: (scale grad - n mean(scale grad n)) / rms; the scale's is the sum of grad n."""
        # The output is read no more: the layer above has taken its gradient.
        product = torch.mul(grad, self.x, out=storage(self.outputs, grad, grad.shape[-1]))
        mean = torch.mv(product, self.scale.value).div_(grad.shape[-1]).unsqueeze(-1)
        below = grad.mul_(self.scale.value).addcmul_(self.x, mean, value=-1.0).mul_(self.inverse)
        update.gradient(self.scale, product.sum(dim=0))
        return below


class StreamLayerNorm(Layer):
    """scale (x - mean) / deviation + shift of each row (Ba et al. 2016)."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.scale, self.shift = self.parameters
        self.x = self.mean = self.inverse = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        scale, shift = self.scale.value, self.shift.value
        y, mean, inverse = torch.ops.aten.native_layer_norm(x, [x.shape[-1]], scale, shift, NORM_EPS)
        if training:
            self.x, self.mean, self.inverse = x, mean, inverse
        return y

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        scale, shift = self.scale.value, self.shift.value
        below, grad_scale, grad_shift = torch.ops.aten.native_layer_norm_backward(
            grad, self.x, [grad.shape[-1]], self.mean, self.inverse, scale, shift, [True, True, True]
        )
        update.gradient(self.scale, grad_scale)
        update.gradient(self.shift, grad_shift)
        return below


class Rotation:
    """The rotary positions of a context: at character t pair e of a head's E features is turned by
    t / base^(2e/E)."""

    def __init__(self, width: int, context: int) -> None:
        rates = ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.arange(context, dtype=torch.float64).unsqueeze(-1) * rates
        turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.turns = turns.view(context, 1, 1, width // 2)
        self.copies: dict[torch.device, Tensor] = {}
        """The same [T, 1, 1, E/2], by device."""

    def on(self, device: torch.device, context: int) -> Tensor:
        """The turns of the first characters, on a device."""
        if device not in self.copies:
            self.copies[device] = self.turns.to(device)
        return self.copies[device][:context]


class Attention(Layer):
    """softmax(q k^T / sqrt(E)) v of each window, by heads, of rows [R, 3D] that hold q, k and v; gives rows [R, D].

    With a rotation q and k are turned by their positions first; `causal`: a row sees those up to itself only.
    """

    def __init__(self, heads: int, context: int, rotation: Rotation | None, *, causal: bool) -> None:
        self.heads, self.context, self.rotation, self.causal = heads, context, rotation, causal
        self.inputs: list[Tensor] = []
        self.output = torch.empty(0)
        self.input_grads: Storage = {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            q, k, v = self._turned(x).unbind(2)
            return self._attend(q, k, v)
        # Over the dense layer's own output, which nothing else reads.
        self._turn(x, backwards=False)
        self.inputs = [part.detach().requires_grad_() for part in self._split(x).unbind(2)]
        with torch.enable_grad():
            self.output = self._attend(*self.inputs)
        return self.output.detach()

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        grads = torch.autograd.grad(self.output, self.inputs, grad)
        self.output, self.inputs = grad, []
        below = storage(self.input_grads, grad, 3 * grad.shape[-1])
        torch.stack(grads, dim=2, out=self._split(below))
        self._turn(below, backwards=True)
        return below

    def _split(self, x: Tensor) -> Tensor:
        """Rows [R, 3D] as [B, T, 3, H, E]; a single window may be shorter than the context."""
        context = min(self.context, x.shape[0])
        return x.view(-1, context, 3, self.heads, x.shape[-1] // (3 * self.heads))

    def _pairs(self, x: Tensor) -> Tensor:
        """The q and k of rows as complex numbers [B, T, 2, H, E/2], each of which is a pair of features."""
        return torch.view_as_complex(self._split(x).unflatten(-1, (-1, 2)))[:, :, :2]

    def _turn(self, x: Tensor, *, backwards: bool) -> None:
        """Turn q and k of rows in place; backwards for their gradients."""
        if self.rotation is None:
            return
        pairs = self._pairs(x)
        turns = self.rotation.on(x.device, pairs.shape[1])
        pairs.mul_(turns.conj() if backwards else turns)

    def _turned(self, x: Tensor) -> Tensor:
        """q, k and v of rows [B, T, 3, H, E], q and k turned."""
        split = self._split(x)
        if self.rotation is None:
            return split
        pairs = self._pairs(x)
        turned = torch.view_as_real(pairs * self.rotation.on(x.device, pairs.shape[1])).flatten(-2)
        return torch.cat([turned, split[:, :, 2:]], dim=2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k and v [B, T, H, E] to rows [R, D]."""
        by_head = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=self.causal
        )
        return by_head.transpose(1, 2).reshape(-1, q.shape[-2] * q.shape[-1])
