"""The dense layers of one network by generated kernels: what they need in memory, and their calls.

Shapes: B batch, padded to whole blocks; I/O features in/out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor

from relubench.models.kernels import sparse
from relubench.models.kernels.blocked import PIECE, turned_rows
from relubench.models.kernels.compiled import Compiled, compiled, host_features, numbers_of
from relubench.models.kernels.emit import LINE
from relubench.models.kernels.layout import TILE, WORDS, Tiling, choose_tiling, packed_batch
from relubench.models.kernels.masks import MASK, mask_storage
from relubench.models.kernels.panels import DEPTH
from relubench.models.kernels.team import Team
from relubench.models.matmul import Library, evaluated
from relubench.models.optimizers import Optimizer, Parameter, Sgd

ALIGNMENT = 64
"""Bytes: a vector of the widest registers, and a cache line."""


class CompiledKernels:
    """The kernels for one size of batch and layers of so many outputs, and the threads that carry them out."""

    def __init__(self, batch: int, workers: int, outputs: Sequence[int], negative_slope: float = 0.0) -> None:
        self.tiling: Tiling = choose_tiling(batch, numbers_of(host_features(), double=False).registers)
        self.workers, self.outputs, self.negative_slope = workers, tuple(outputs), negative_slope
        self.codes = {False: self._compiled(double=False)}
        run, serve = (self.codes[False].addresses[name] for name in ("run", "serve"))
        self.team = Team(workers, run, serve)
        self.passes: list[KernelLinear] = []
        self.ahead = False

    def of(self, dtype: torch.dtype) -> Compiled:
        """The kernels for float32 or float64."""
        double = dtype == torch.float64
        if double not in self.codes:
            self.codes[double] = self._compiled(double=double)
        return self.codes[double]

    def _compiled(self, *, double: bool) -> Compiled:
        if self.tiling.blocks == 1:
            return compiled(self.tiling, double=double)
        lanes = numbers_of(host_features(), double).lanes
        return compiled(sparse.in_strips_of(self.tiling, self.outputs, self.workers, lanes), double=double)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, the threads wait for kernels, and torch keeps to one: they would only displace each other.

        From then on the weights are in the kernels' storage alone, until `synchronise`.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for layer in self.passes:
            layer.load_weights()
        try:
            self.ahead = True
            with self.team.working():
                yield
        finally:
            torch.set_num_threads(threads)

    def synchronise(self) -> None:
        """Write the weights back into their values, where the kernels have gone ahead of those."""
        if self.ahead:
            for layer in self.passes:
                layer.store_weights()
        self.ahead = False

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the weights stay as they are, and evaluations need not turn them each time."""
        self.synchronise()
        for layer in self.passes:
            layer.by_rows = layer.weight.value.contiguous()
        try:
            yield
        finally:
            for layer in self.passes:
                layer.by_rows = None


class KernelLinear:
    """z = x W^T + b, W [O, I] and b [O], trained by plain SGD; `first`: its input is data, whose gradient nobody reads.

    The weights' value lies by columns, as the kernels have them, so that it is soon taken over and given back. Whoever
    exchanges a parameter's value for another tensor, of float32 or float64, finds it laid out anew at the next step.
    """

    def __init__(
        self, weight: Parameter, bias: Parameter, kernels: CompiledKernels, library: Library, first: bool
    ) -> None:
        self.weight, self.bias, self.kernels, self.first = weight, bias, kernels, first
        self.library: Library = library
        self.by_rows: Tensor | None = None
        """W as PyTorch's products want it; there during an evaluation."""
        self.fused_activation = False
        self.layer_below: KernelLinear | None = None
        self._lay_out()
        kernels.passes.append(self)

    def evaluate(self, x: Tensor) -> Tensor:
        w = self.weight.value.contiguous() if self.by_rows is None else self.by_rows
        return evaluated(self.library, x, w, self.bias.value)

    def forward(self, x: Tensor) -> Tensor:
        """z [B, O], in storage that the next call overwrites."""
        if not self.kernels.team.awake:
            self.load_weights()
        x = x if x.stride(-1) == 1 else x.contiguous()
        batch = x.shape[0]
        self._tell(x=x, batch=batch, x_stride=x.stride(0))
        if self.layer_below is not None:
            self._tell(target=self.layer_below.delta, target_stride=self.layer_below.delta.stride(0))
        self.kernels.team.run(self.codes["forward"], self.address)
        return self.y[:batch, : self.w.shape[0]]

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """Update the parameters; the gradient of the last `forward`'s input [B, I], or `grad` if nobody reads it."""
        assert isinstance(update, Sgd) and first == self.first
        batch, outputs = grad.shape
        if grad.data_ptr() != self.delta.data_ptr():
            self.delta[:batch, :outputs].copy_(grad)
            if batch < self.filled:
                self.delta[batch:].zero_()
            self.filled = batch
        if update.lr != self.lr:
            self.lr = update.lr
            self.rate.fill_(-self.lr)
        name, then = ("backward_first", 0) if first else ("backward", self.codes["gather"])
        self.kernels.team.run(self.codes[name], self.address, then)
        if not self.kernels.team.awake:
            self.store_weights()
        if first:
            return grad
        below = self.below if self.layer_below is None else self.layer_below.delta
        return below[:batch, : self.w.shape[1]]

    def fuse_activation(self) -> None:
        """Let `forward` apply the activation too: z above 0, and elsewhere the kernels' negative_slope*z."""
        self.fused_activation = True
        self._tell(fused_activation=1)

    def fuse_backward_into(self, layer_below: KernelLinear) -> None:
        """Let `backward` give the gradient of that layer's z, as its delta; x is that layer's fused activation."""
        self.layer_below = layer_below

    def load_weights(self) -> None:
        """Take the weights over from their value, if anybody has changed it."""
        if self.weight.value is not self.w or self.bias.value is not self.b:
            self._lay_out()
        elif self.w._version != self.version:
            self._exchange(lambda block, value: block.copy_(value))

    def store_weights(self) -> None:
        """Write the weights back into their value."""
        self._exchange(lambda block, value: value.copy_(block))

    def _exchange(self, copy: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Between each worker's columns and the same of the value [I, O]."""
        inputs, by_columns = self.w.shape[1], self.w.t()
        for block, (left, right) in zip(self.blocks, self.columns, strict=True):
            copy(block[:inputs, : right - left], by_columns[:, left:right])
        self.version = self.w._version

    def _lay_out(self) -> None:
        """Take the parameters' values over into storage of the kernels' own layout, and make all other storage.

        Rows are an odd number of vectors apart, so that one column's lines do not displace each other from the cache.
        """
        like, workers = self.weight.value, self.kernels.workers
        outputs, inputs = like.shape
        code = self.kernels.of(like.dtype)
        self.codes, numbers, tiling = dict(code.addresses), code.numbers, code.tiling
        lanes, samples = numbers.lanes, packed_batch(numbers, tiling)
        columns = whole(outputs, lanes)
        stride = odd(columns, lanes)
        padded_bias = self._take_values(columns, lanes)
        self.sums = zeros(like, workers, tiling.padded, stride)
        self.y, self.delta = zeros(like, tiling.padded, stride), zeros(like, samples, stride)
        turned = turned_rows(numbers, tiling)
        below = odd(max(whole(inputs + 1, height) for height in (turned, tiling.tall * lanes)), lanes)
        self.parts = zeros(like, workers, tiling.padded, below)
        self.turned = zeros(like, columns, samples)
        panel = max(PIECE * turned, DEPTH * turned, MASK * sparse.STRIP * lanes)
        self.turned_w = zeros(like, workers, panel)
        self.panels = zeros(like, columns if tiling.panels else 0, samples)
        self.below = self.parts[0]
        self.rate, self.lr, self.filled = zeros(like, 1), 0.0, 0
        self.negative_slope = zeros(like, 1).fill_(self.kernels.negative_slope)
        segment = whole(inputs, max(TILE, lanes)) + 1
        masks = mask_storage(inputs, segment, samples) if tiling.panels else 0
        self.masks = torch.zeros(workers, masks, dtype=torch.int64)
        self.packed = zeros(like, workers * segment, samples)
        self.rows = torch.zeros(workers * segment, dtype=torch.int64)
        self.counts = torch.zeros(workers * LINE, dtype=torch.int64)
        self.words = torch.zeros(len(WORDS), dtype=torch.int64)
        self.argument_values, self.address = self.words.numpy(), self.words.data_ptr()
        self._write_layout(padded_bias, columns, segment)

    def _take_values(self, columns: int, lanes: int) -> Tensor:
        """Lay the weights out by columns, each worker's in a block of its own; the bias, padded to whole vectors."""
        like, workers = self.weight.value, self.kernels.workers
        outputs, inputs = like.shape
        bias = self.bias.value
        self.w = self.weight.value = like.t().contiguous().t()
        padded_bias = zeros(like, columns)
        self.b = self.bias.value = padded_bias[:outputs]
        self.b.copy_(bias)
        edges = [columns // lanes * worker // workers * lanes for worker in range(workers + 1)]
        self.columns = [(left, max(left, min(right, outputs))) for left, right in pairwise(edges)]
        widest = odd(max(right - left for left, right in pairwise(edges)), lanes)
        self.blocks = zeros(like, workers, inputs + 1, widest)
        self._exchange(lambda block, value: block.copy_(value))
        return padded_bias

    def _write_layout(self, padded_bias: Tensor, columns: int, segment: int) -> None:
        """Write the arguments that stay as they are: where everything lies, and its sizes."""
        self._tell(workers=self.kernels.workers, inputs=self.w.shape[1], skip=int(self.first), columns=columns)
        self._tell(w=self.blocks, w_part=self.blocks.stride(0), w_stride=self.blocks.stride(1), b=padded_bias)
        self._tell(sums=self.sums, sums_part=self.sums.stride(0), stride=self.y.stride(0), y=self.y, delta=self.delta)
        self._tell(below=self.parts, below_part=self.parts.stride(0), below_stride=self.parts.stride(1))
        self._tell(segment=segment, rows=self.rows, packed=self.packed, counts=self.counts, rate=self.rate)
        self._tell(turned=self.turned, turned_w=self.turned_w, turned_part=self.turned_w.stride(0))
        self._tell(panels=self.panels, masks=self.masks, masks_part=self.masks.stride(0))
        self._tell(fused_activation=int(self.fused_activation), negative_slope=self.negative_slope)

    def _tell(self, **values: int | Tensor) -> None:
        """Write arguments of the kernels."""
        for name, value in values.items():
            self.argument_values[PLACES[name]] = value.data_ptr() if isinstance(value, Tensor) else value


PLACES = {name: place for place, name in enumerate(WORDS)}


def whole(size: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def odd(size: int, lanes: int) -> int:
    """The size, or a vector more, so that it is an odd number of vectors: see `KernelLinear`."""
    return (size // lanes | 1) * lanes


def zeros(like: Tensor, *shape: int) -> Tensor:
    """Zeros of that shape and of like's type, at an address that the widest vectors start at."""
    size = torch.Size(shape).numel()
    spare = ALIGNMENT // like.element_size()
    storage = torch.zeros(size + spare, dtype=like.dtype)
    start = -storage.data_ptr() % ALIGNMENT // like.element_size()
    return storage[start : start + size].view(shape)
