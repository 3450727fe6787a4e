"""What a layer is pre-trained on: the images, or what the finished layers below make of them.

The codes of the layers below are computed once and stored if they take no more than `memory.CODE_BYTES`; otherwise they
are computed where they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.training.evaluation import accumulator
from relubench.training.images import Images
from relubench.training.memory import CODE_BYTES, EVALUATION_IMAGES, EVALUATION_VALUES, FLOAT_BYTES


@dataclass(frozen=True, slots=True)
class Statistics:
    """A layer's training inputs before a sign flip: mean and deviation of each [I], range and zeros of all together."""

    mean: Tensor
    deviation: Tensor
    low: float
    high: float
    zeros: float = 0.0


@dataclass(frozen=True, slots=True)
class AffineMap:
    """x * factor + shift, for each input [I]; None leaves it out."""

    factor: Tensor | None = None
    shift: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """x itself if there is nothing to do."""
        if self.factor is not None:
            x = x * self.factor
        return x if self.shift is None else x + self.shift


class Source:
    """The inputs of the layer above `below`, which is the network's own layers with their pre-trained weights."""

    def __init__(self, data: Images, below: Sequence[Layer], width: int) -> None:
        self.data, self.below, self.width = data, list(below), width
        self.codes: Tensor | None = None
        if below and data.n_train * width * FLOAT_BYTES <= CODE_BYTES:
            self.codes = torch.cat([codes.clone() for codes in self.slices("train")])

    def chunk(self, index: Tensor) -> Tensor:
        """The training inputs at index [B], float32 [B, I]."""
        if self.codes is not None:
            return self.codes.index_select(0, index)
        return self._up(self.data.train_batch(index)[0])

    def slices(self, split: str, limit: int | None = None) -> Iterator[Tensor]:
        """The inputs of a split in order, or of its first `limit` examples, in batches [n, I]."""
        size = max(1, min(EVALUATION_IMAGES, EVALUATION_VALUES // max(self.width, 1)))
        remaining = limit
        for x, _ in self.data.slices(split, size):
            if remaining is not None and remaining <= 0:
                return
            x = x if remaining is None else x[:remaining]
            remaining = None if remaining is None else remaining - len(x)
            yield self._up(x)

    def statistics(self, signs: Tensor | None) -> Statistics:
        """The statistics of all training inputs; `signs` [I]: those of the flip that the layer below ends with."""
        total = square = torch.zeros(())
        low, high, count, zeros = float("inf"), -float("inf"), 0, 0
        dtype = accumulator(self.data.splits["train"][0].device.type)
        batches = self.codes.split(EVALUATION_IMAGES) if self.codes is not None else self.slices("train")
        for x in batches:
            x = x if signs is None else x * signs
            total = total.to(x.device) + x.sum(dim=0, dtype=dtype)
            square = square.to(x.device) + x.square().sum(dim=0, dtype=dtype)
            low, high = min(low, float(x.min())), max(high, float(x.max()))
            count += len(x)
            zeros += x.numel() - int(torch.count_nonzero(x))
        mean = total / count
        deviation = (square / count - mean.square()).clamp_(min=0.0).sqrt()
        return Statistics(mean.float(), deviation.float(), low, high, zeros / (count * self.width))

    def _up(self, x: Tensor) -> Tensor:
        for layer in self.below:
            x = layer.forward(x, training=False)
        return x
