"""The loss of a task and its gradient with respect to the networks' outputs: one class for each task.

Shapes: P member, B batch, K output units. One network drops P where its training is concerned, never in an evaluation.
"""

from __future__ import annotations

import importlib
from typing import Protocol

import torch
from torch import Tensor

from relubench.runs.task import task_called


class Objective(Protocol):
    """What a task has its networks minimise, and how it scores each example."""

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        """What the outputs of so many units are held against: [(P,) B, K] of the data set's targets y [(P,) B]."""
        ...

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of the batch's mean loss in the output, and a record [(P,) B, K] of the output for `total`."""
        ...

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        """The loss summed over a member's examples: [P] or a scalar, in `dtype`; may write into the record."""
        ...

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of each example [P, B]; autograd can follow it."""
        ...

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        """What a run stores of each example [P, B]: bool where the task's `per_example` is 'wrong', else float32."""
        ...


class CrossEntropy:
    """Classification: mean cross-entropy in nats, and which examples are named wrongly; outputs are logits."""

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        return torch.nn.functional.one_hot(y, outputs).to(torch.float32)

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(softmax(z) - target) / B, and log softmax(z)."""
        log_p = torch.log_softmax(output, dim=-1)
        return torch.exp(log_p).sub_(target).mul_(1.0 / target.shape[-2]), log_p

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return record.mul_(target).sum(dim=(-2, -1), dtype=dtype).neg()

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        log_p = torch.log_softmax(output, dim=-1)
        return -log_p.gather(-1, y.expand(log_p.shape[:-1]).unsqueeze(-1)).squeeze(-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return output.argmax(dim=-1) != y


def objective_of(task: str) -> Objective:
    """The objective of the task of that name; raises UsageError if there is none."""
    module, _, name = task_called(task).target.partition(":")
    return getattr(importlib.import_module(module), name)()
