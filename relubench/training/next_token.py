"""The language task: the next character, scored in bits per character, a window at a time.

Shapes: P member, B windows, T characters of one, R = B T rows, K characters that there are. One network drops P.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class NextToken:
    """Cross-entropy of the next character over all places of a window; outputs are logits [R, K].

    Losses are in nats, scores in bits; either is a window's mean over its T characters.
    """

    def __init__(self) -> None:
        self.log_p = torch.empty(0)

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        """The characters themselves, [B, T] int64."""
        return y.to(torch.int64)

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(softmax(z) - target) / R, and the log probabilities of the targets [B, T]."""
        if self.log_p.shape != output.shape or self.log_p.device != output.device:
            self.log_p = torch.empty_like(output)
        log_p = torch.ops.aten._log_softmax.out(output, -1, False, out=self.log_p)
        index = target.reshape(-1, 1)
        record = log_p.gather(-1, index)
        grad = log_p.exp_()
        grad.scatter_(-1, index, record.exp().sub_(1.0))
        return grad.mul_(1.0 / len(index)), record.view(target.shape)

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return record.sum(dim=(-2, -1), dtype=dtype).div_(-record.shape[-1])

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean loss of each window [P, B], of outputs [P, R, K] and characters [B, T]."""
        log_p = torch.log_softmax(output, dim=-1)
        index = y.to(torch.int64).reshape(-1, 1).expand(*output.shape[:-1], 1)
        return -log_p.gather(-1, index).view(*output.shape[:-2], *y.shape).mean(dim=-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return self.losses(output, y).div_(math.log(2.0))
