"""How well networks do their task: scores, loss and exact zeros on a split, in batches large enough for full speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from relubench.errors import ComputeError
from relubench.models.layers.base import Layer
from relubench.runs.task import Task
from relubench.system.device_kinds import has_float64
from relubench.training.images import Images
from relubench.training.losses import Objective
from relubench.training.memory import evaluation_images


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of each member: its mean loss, its score of each example [P, N], zeros [P, hidden layers]."""

    loss: list[float]
    scores: np.ndarray
    """bool, True where the example is wrong, or float32: as the task has it."""
    zeros: np.ndarray
    """Share of exact zeros in each hidden layer's output; empty if not asked for."""


def accumulator(device: str) -> torch.dtype:
    """The type that sums over a whole split are taken in: float64, which mps does not have."""
    return torch.float64 if has_float64(device) else torch.float32


@torch.no_grad()
def evaluate(
    layers: Sequence[Layer], objective: Objective, data: Images, split: str, members: int, batched: bool, sparsity: bool
) -> Evaluation:
    """Run a split through the network in evaluation mode (no dropout, no noise, running statistics)."""
    size = _examples_at_once(data, members)
    scores: list[Tensor] = []
    loss_P: Tensor | float = 0.0
    zeros: list[Tensor] = []
    first_example = 0
    for x, y in data.slices(split, size):
        h = x.unsqueeze(0).expand(members, *x.shape) if batched else x
        counts = []
        for layer in layers:
            layer.evaluates_from(first_example)
            h = layer.forward(h, training=False)
            if sparsity and layer.hidden:
                counts.append(_zero_counts(h, members, len(y)))
            counts += layer.zero_counts if sparsity else ()
        first_example += len(x)
        output = h if batched else h.unsqueeze(0)
        loss_P = loss_P + objective.losses(output, y).sum(dim=-1, dtype=accumulator(x.device.type))
        scores.append(objective.scores(output, y))
        if counts:
            zeros.append(torch.stack(counts, dim=1))
    for layer in layers:
        layer.evaluates_from(0)
    total = data.count(split)
    assert isinstance(loss_P, Tensor)
    return Evaluation(
        loss=(loss_P / total).tolist(),
        scores=torch.cat(scores, dim=1).cpu().numpy(),
        zeros=(torch.stack(zeros).sum(dim=0) / total).cpu().numpy() if zeros else np.empty((members, 0)),
    )


def _examples_at_once(data: Images, members: int) -> int:
    """How many examples are evaluated at once."""
    inputs, device = int(np.prod(data.prepared.input_shape)), data.splits["test"][0].device.type
    convolutional = not data.flat and data.places == 1
    return evaluation_images(inputs, convolutional=convolutional, device=device, members=members, places=data.places)


def check_scores(scores: np.ndarray, task: Task) -> None:
    """Raises ComputeError where the class of a task gives other scores [P, N] than the task's row says."""
    dtype = np.dtype(bool if task.per_example == "wrong" else np.float32)
    if scores.dtype != dtype or scores.ndim != 2:
        types = f"{scores.dtype} in {scores.ndim} dimensions, not {dtype} [members, examples]"
        raise ComputeError(f"the scores of the task {task.name} are {types}", "see the class that its row names")


def with_values(evaluation: Evaluation, task: Task) -> Evaluation:
    """The evaluation with the scores that a run stores, where the task makes them of a network's scores together."""
    if task.values is None:
        return evaluation
    return replace(evaluation, scores=np.stack([task.values(scores) for scores in evaluation.scores]))


def _zero_counts(h: Tensor, members: int, examples: int) -> Tensor:
    """For each member, the sum over examples of the share of exact zeros in one layer's output; [P]."""
    rows = h.reshape(members, -1)
    # An expert that got no row of this batch gave no zeros.
    return (rows == 0).sum(dim=1, dtype=accumulator(h.device.type)) / max(1, rows.shape[1]) * examples
