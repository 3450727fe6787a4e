"""PyTorch, autograd and torch.optim.SGD, the images in memory: what an experienced user writes first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mnist import Mnist, load
from benchmarks.network import Weights, xavier
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task


def build(weights: Weights) -> nn.Sequential:
    """Linear and ReLU in turn, then Linear, with these initial weights and their precision."""
    layers: list[nn.Module] = []
    for weight, bias in weights:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight = nn.Parameter(torch.tensor(weight))
        linear.bias = nn.Parameter(torch.tensor(bias))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One update."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def validate(model: nn.Module, x: Tensor, y: Tensor, size: int = VALID_BATCH) -> float:
    """The share of wrong answers; the mean loss is computed beside it, as everybody does."""
    wrong, loss = 0, 0.0
    for images, labels in zip(x.split(size), y.split(size), strict=True):
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        wrong += int((logits.argmax(1) != labels).sum())
    return wrong / len(x)


def tensors(data: Mnist) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and y of the training, then of the validation images."""
    x, y, x_valid, y_valid = map(torch.from_numpy, (data.x_train, data.y_train, data.x_valid, data.y_valid))
    return x, y, x_valid, y_valid


def train(
    task: Task,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    arrays: tuple[Tensor, Tensor, Tensor, Tensor],
    clock: Clock,
    valid_batch: int = VALID_BATCH,
) -> None:
    """All epochs of one network."""
    x, y, x_valid, y_valid = arrays
    for _ in range(task.epochs):
        for index in torch.randperm(len(x)).split(task.batch_size):
            train_step(model, optimizer, x[index], y[index])
        clock.trained()
        clock.validated(validate(model, x_valid, y_valid, valid_batch))


def run(task: Task) -> Measurement:
    """One network, or `members` one after another.

    The optimizers are made before the clock starts: the first one imports a second's worth of torch.
    """
    torch.manual_seed(task.seed)
    arrays = tensors(load(task.data_dir, task.images))
    models = [build(xavier(task.seed + member, task.hidden)) for member in range(task.members)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=task.lr) for model in models]
    clock = Clock()
    for model, optimizer in zip(models, optimizers, strict=True):
        train(task, model, optimizer, arrays, clock)
    return clock.measurement(threads=f"torch {torch.get_num_threads()}")
