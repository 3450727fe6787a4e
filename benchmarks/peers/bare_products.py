"""The ceiling: the matrix products of a step and nothing else, into storage that exists.

For each layer the forward product, the gradient of the weights, and (but for the first) the gradient of the input. No
biases, no activation, no loss, no update, and batches in order, without a copy: it trains nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mnist import load
from benchmarks.network import xavier
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task


class Products:
    """W [O, I] and the storage of every product, for one size of batch."""

    def __init__(self, weights: list[Tensor], grads: list[Tensor], batch: int) -> None:
        self.weights, self.grads = weights, grads
        self.outputs = [torch.empty(batch, len(weight)) for weight in weights]
        self.deltas = [torch.randn(batch, len(weight)) for weight in weights]
        self.below = [torch.empty(batch, weight.shape[1]) for weight in weights]

    def forward(self, x: Tensor) -> list[Tensor]:
        """What each layer reads."""
        inputs = []
        for weight, out in zip(self.weights, self.outputs, strict=True):
            inputs.append(x)
            x = torch.mm(x, weight.t(), out=out)
        return inputs

    def backward(self, inputs: list[Tensor]) -> None:
        """Both gradients of each layer, the last one first."""
        for place in range(len(self.weights) - 1, -1, -1):
            if place:
                torch.mm(self.deltas[place], self.weights[place], out=self.below[place])
            torch.mm(self.deltas[place].t(), inputs[place], out=self.grads[place])


@torch.no_grad()
def run(task: Task) -> Measurement:
    """One network that learns nothing: it reports no validation error."""
    torch.manual_seed(task.seed)
    data = load(task.data_dir, task.images)
    x, x_valid = torch.from_numpy(data.x_train), torch.from_numpy(data.x_valid)
    weights = [torch.from_numpy(weight) for weight, _ in xavier(task.seed, task.hidden)]
    grads = [torch.empty_like(weight) for weight in weights]
    sizes = {len(part) for part in x.split(task.batch_size)}
    products = {size: Products(weights, grads, size) for size in sizes}
    evaluation = Products(weights, grads, VALID_BATCH)
    clock = Clock()
    for _ in range(task.epochs):
        for part in x.split(task.batch_size):
            step = products[len(part)]
            step.backward(step.forward(part))
        clock.trained()
        for part in x_valid.split(VALID_BATCH):
            evaluation.forward(part)
        clock.validated(None)
    return clock.measurement(threads=f"torch {torch.get_num_threads()}")
