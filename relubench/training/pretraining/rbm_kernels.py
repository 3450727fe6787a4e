"""Contrastive divergence on a processor, by generated kernels: their storage, and their calls.

The same steps as `ContrastiveDivergence.step`, on weights that lie as the kernels have them while they are `working`.
Weights of an input that is zero are not read, and where it is zero in the whole batch not updated, for the data.

Shapes: B batch, padded to whole blocks; I visible, O hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from relubench.models.kernels.compiled import compiled_rbm, host_features, numbers_of
from relubench.models.kernels.emit import LINE
from relubench.models.kernels.layer import odd, whole, zeros
from relubench.models.kernels.layout import TILE, packed_batch
from relubench.models.kernels.rbm import WORDS, even_tiling
from relubench.models.kernels.sparse import in_strips_of
from relubench.models.kernels.team import Team
from relubench.training.pretraining.rbm import ContrastiveDivergence
from relubench.training.pretraining.units import HIDDEN, VISIBLE

NEVER = -1e4
"""An input at which sigmoid is 0."""


class Weights:
    """A matrix [O, I] in each worker's columns [workers, I+1, D], the last row unused, and hidden biases [C]."""

    def __init__(self, matrix: Tensor, bias: Tensor, edges: Sequence[int], lanes: int) -> None:
        self.matrix, self.bias = matrix, bias
        outputs, inputs = matrix.shape
        self.columns = [(left, max(left, min(right, outputs))) for left, right in pairwise(edges)]
        width = odd(max(right - left for left, right in pairwise(edges)), lanes)
        self.blocks = zeros(matrix, len(self.columns), inputs + 1, width)
        # Beyond the last unit the mean is then 0, and nothing changes.
        self.b = zeros(matrix, edges[-1]).fill_(NEVER)

    def load_weights(self) -> None:
        for block, values in self._pairs():
            block.copy_(values)

    def store_weights(self) -> None:
        for block, values in self._pairs():
            values.copy_(block)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        outputs, inputs = self.matrix.shape
        yield self.b[:outputs], self.bias
        for block, (left, right) in zip(self.blocks, self.columns, strict=True):
            yield block[:inputs, : right - left], self.matrix.t()[:, left:right]


class Call:
    """A kernel, the one that follows it (0: none), and their arguments."""

    def __init__(self, code: int, next_code: int) -> None:
        self.code, self.next_code, self.arguments = code, next_code, np.zeros(len(WORDS), np.int64)
        self.address = self.arguments.ctypes.data


class KernelDivergence:
    """Takes the steps of a ContrastiveDivergence on batches of at most `batch`, by `workers` threads.

    `sparse`: leave out zeros of the data one by one, which pays where fewer than half the numbers are something else.
    """

    def __init__(self, trainer: ContrastiveDivergence, batch: int, workers: int, *, sparse: bool) -> None:
        self.trainer, self.rbm, self.sparse = trainer, trainer.rbm, sparse
        vector = numbers_of(host_features(), double=False)
        self.tiling = in_strips_of(even_tiling(batch, vector.registers), [len(self.rbm.weight)], workers, vector.lanes)
        self.kernels = compiled_rbm(self.tiling)
        self.team = Team(workers, self.kernels.addresses["run"], self.kernels.addresses["serve"])
        outputs, inputs = self.rbm.weight.shape
        like, padded, lanes = self.rbm.weight, self.tiling.padded, self.kernels.numbers.lanes
        columns, padded_inputs = whole(outputs, lanes), whole(inputs, TILE)
        stride = odd(columns, lanes)
        edges = [columns // lanes * worker // workers * lanes for worker in range(workers + 1)]
        self.weights = Weights(like, self.rbm.hidden_bias, edges, lanes)
        self.velocity = None
        if trainer.velocity:
            self.velocity = Weights(trainer.velocity[0], trainer.velocity[1], edges, lanes)
        line = packed_batch(self.kernels.numbers, self.tiling)
        self.rows = zeros(like, workers, padded, inputs)
        """For each worker the data [B, I], where its zeros are left out."""
        self.v0 = zeros(like, padded_inputs, line)
        self.v1 = zeros(like, padded_inputs, line)
        self.h0, self.h1, self.samples, self.y = (zeros(like, padded, stride) for _ in range(4))
        self.sums = zeros(like, workers, padded, stride)
        self.parts = zeros(like, workers, padded_inputs * line + lanes)
        self.rates = zeros(like, 2)
        self.input_rows = torch.arange(padded_inputs).clamp_(max=inputs)
        self.counts = torch.full((workers * LINE,), inputs)
        self.key = torch.zeros((), dtype=torch.int64)
        self.filled = 0
        self.calls: dict[str, Call] = {}
        self._prepare_calls()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, the threads wait for kernels, torch keeps to one, and the weights are in the kernels' storage alone.

        Whatever torch does with more threads leaves those looking for work for a while, in the way of the kernels'.
        """
        threads = torch.get_num_threads()
        matrices = [matrix for matrix in (self.weights, self.velocity) if matrix is not None]
        torch.set_num_threads(1)
        for matrix in matrices:
            matrix.load_weights()
        try:
            with self.team.working():
                yield
        finally:
            for matrix in matrices:
                matrix.store_weights()
            torch.set_num_threads(threads)

    def step(self, v0: Tensor) -> Tensor:
        """One update on a batch [B, I]; returns the sum of squared reconstruction errors []."""
        trainer, (batch, inputs) = self.trainer, v0.shape
        self._load(v0)
        self._run("up_data")
        self._draw(self.h0, batch)
        for turn in range(trainer.k):
            self._down(batch, sampled=trainer.sampled or turn < trainer.k - 1)
            self._run("up_model")
            if turn < trainer.k - 1:
                self._draw(self.h1, batch)
        self._mean(batch)
        change = self.v0[:inputs, :batch] - self.v1[:inputs, :batch]
        self._update(change.sum(dim=1), 1.0 / batch)
        return change.square_().sum()

    def _load(self, v0: Tensor) -> None:
        """The batch as [I, B], zeros beyond it."""
        batch, inputs = v0.shape
        if batch < self.filled:
            self.v0[:, batch:].zero_()
            for storage in (self.h0, self.h1, self.samples):
                storage[batch:].zero_()
        if batch != self.filled:
            self.filled = batch
            for name in self.calls:
                self._set_arguments(name, batch=batch)
        self.v0[:inputs, :batch].copy_(v0.t())
        self.rows_of_batch = v0 if v0.stride(1) == 1 else v0.contiguous()
        self._set_arguments("up_data", x=self.rows_of_batch, x_stride=self.rows_of_batch.stride(0))

    def _draw(self, storage: Tensor, batch: int) -> None:
        """E[h | v] of the inputs y into that storage, and a draw."""
        generator, hidden = self.trainer.generator, self.rbm.hidden
        if hidden is HIDDEN["bernoulli"]:
            self.key.random_(generator=generator)
            self._set_arguments("draw", key=int(self.key), mean=storage)
            self._run("draw")
            return
        units = slice(batch), slice(len(self.rbm.hidden_bias))
        mean = hidden.mean(self.y[units])
        storage[units].copy_(mean)
        self.samples[units].copy_(hidden.sample(self.y[units], mean, generator))

    def _mean(self, batch: int) -> None:
        """E[h | v] of the inputs y, at the chain's end."""
        if self.rbm.hidden is HIDDEN["bernoulli"]:
            self._run("mean")
            return
        units = slice(batch), slice(len(self.rbm.hidden_bias))
        self.h1[units].copy_(self.rbm.hidden.mean(self.y[units]))

    def _down(self, batch: int, *, sampled: bool) -> None:
        """v1: the visible units' means given what was drawn, or a draw."""
        visible = self.rbm.visible
        if visible is VISIBLE["bernoulli"]:
            self._run("down_sigmoid")
            if not sampled:
                return
            a = mean = self.v1[: len(self.rbm.visible_bias), :batch]
        else:
            self._run("down")
            a = self.v1[: len(self.rbm.visible_bias), :batch]
            mean = visible.mean(a)
        self.v1[: len(a), :batch].copy_(visible.sample(a, mean, self.trainer.generator) if sampled else mean)

    def _update(self, visible: Tensor, scale: float) -> None:
        """W, or its velocity, += scale * (h0^T v0 - h1^T v1), and the biases alike; see ContrastiveDivergence."""
        trainer, decay, rate, weights = self.trainer, self.trainer.weight_decay, self.trainer.rate, self.weights
        bias, speed = self.rbm.visible_bias, self.velocity
        step = scale if speed else rate * scale
        self.rates[0], self.rates[1] = step, -step
        if speed:
            speed.blocks.mul_(trainer.momentum)
            speed.b.mul_(trainer.momentum)
            if decay:
                speed.blocks.add_(weights.blocks, alpha=-decay)
        elif decay:
            weights.blocks.mul_(1.0 - rate * decay)
        self._run("update_data")
        self._run("update_model")
        if speed is None:
            bias.add_(visible, alpha=step)
            return
        weights.blocks.add_(speed.blocks, alpha=rate)
        weights.b.add_(speed.b, alpha=rate)
        bias.add_(trainer.velocity[2].mul_(trainer.momentum).add_(visible, alpha=scale), alpha=rate)

    def _run(self, name: str) -> None:
        call = self.calls[name]
        self.team.run(call.code, call.address, call.next_code)

    def _set_arguments(self, name: str, **values: int | Tensor) -> None:
        """Set arguments of a kernel."""
        for key, value in values.items():
            self.calls[name].arguments[PLACES[key]] = value.data_ptr() if isinstance(value, Tensor) else value

    def _prepare_calls(self) -> None:
        """Prepare the calls of kernels that a step consists of."""
        blocks, target, inputs = self.weights.blocks, self.velocity or self.weights, len(self.rbm.visible_bias)
        common: dict[str, int | Tensor] = {
            **{"workers": self.team.workers, "inputs": inputs, "segment": 0},
            **{
                "rows": self.input_rows,
                "counts": self.counts,
                "packed": self.v1,
                "drawn": self.samples,
                "mean": self.h1,
            },
            **{"w": blocks, "w_part": blocks.stride(0), "w_stride": blocks.stride(1), "b": self.weights.b},
            **{
                "columns": len(self.weights.b),
                "stride": self.y.stride(0),
                "sums": self.sums,
                "sums_part": self.sums.stride(0),
                "negative_slope": self.rates,
                "y": self.y,
            },
            **{"below": self.v1, "parts": self.parts, "parts_part": self.parts.stride(0), "c": self.rbm.visible_bias},
        }
        updated = {"w": target.blocks, "b": target.b}
        rows = {"v": self.rows, "v_part": self.rows.stride(0), "v_stride": self.rows.stride(1)}
        data = {**updated, "packed": self.v0, "v": self.v0, "v_stride": self.v0.stride(0), "delta": self.h0}
        up, update = ("up_sparse", "update_sparse") if self.sparse else ("up", "backward_first")
        calls = {
            "up_data": (up, {"packed": self.v0, **rows}),
            "up_model": ("up", {}),
            **{name: (name, {}) for name in ("mean", "draw")},
            **{"down": ("down gather", {}), "down_sigmoid": ("down gather_sigmoid", {})},
            "update_data": (update, {**data, "rate": self.rates}),
            "update_model": ("backward_first", {**updated, "delta": self.h1, "rate": self.rates[1:]}),
        }
        for name, (names, arguments) in calls.items():
            kernel, *next_code = (self.kernels.addresses[function] for function in names.split())
            self.calls[name] = Call(kernel, *next_code or [0])
            self._set_arguments(name, **{**common, **arguments})


PLACES = {name: place for place, name in enumerate(WORDS)}
