"""PyTorch with torch.compile over the training step: forward and loss in one graph, the update in another.

The split is torch's own: loss.backward() breaks the graph, and what lies on both sides of it is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mnist import load
from benchmarks.network import batch_sizes, xavier
from benchmarks.peers.pytorch_plain import build, tensors, validate
from benchmarks.peers.task import Clock, Measurement, Task

Step = Callable[[Tensor, Tensor], None]


def compiled_step(model: nn.Module, lr: float) -> Step:
    """One update on x [B, 784], y [B]; compiled at its first call, once for each B."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    @torch.compile(dynamic=False)
    def compute_loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    @torch.compile
    def update() -> None:
        optimizer.step()

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        compute_loss(x, y).backward()
        update()

    return step


def run(task: Task) -> Measurement:
    """One network; compilation is over before the clock starts, and the weights are put back."""
    torch.manual_seed(task.seed)
    x, y, x_valid, y_valid = tensors(load(task.data_dir, task.images))
    weights = xavier(task.seed, task.hidden)
    model = build(weights)
    step = compiled_step(model, task.lr)
    started = time.perf_counter()
    for size in batch_sizes(task.images, task.batch_size):
        for _ in range(3):
            step(x[:size], y[:size])
    model.load_state_dict(build(weights).state_dict())
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    for _ in range(task.epochs):
        for index in torch.randperm(len(x)).split(task.batch_size):
            step(x[index], y[index])
        clock.trained()
        clock.validated(validate(model, x_valid, y_valid))
    return clock.measurement(threads=f"torch {torch.get_num_threads()}", compile_seconds=compile_seconds)
