"""PyTorch, autograd and torch.optim.SGD: a small CNN, in either memory format, and compiled."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from benchmarks.mnist import load
from benchmarks.network import batch_sizes
from benchmarks.peers.pytorch_compile import compiled_step
from benchmarks.peers.pytorch_plain import tensors, train, validate
from benchmarks.peers.task import Clock, Measurement, Task

SIDE = 28
VALID_BATCH = 250
"""Images validated at once: the fastest of 128 to 2000, at which the layers' outputs leave the cache."""


def build() -> nn.Sequential:
    """5x5 convolutions of 32 and 64 channels, each with ReLU and 2x2 max pooling, 256 units, 10 classes."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (SIDE // 4) ** 2, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def run_channels_last(task: Task) -> Measurement:
    """One network, weights and images in torch.channels_last."""
    return _run(task, torch.channels_last)


def run_contiguous(task: Task) -> Measurement:
    """One network in torch's default format."""
    return _run(task, torch.contiguous_format)


def run_compiled(task: Task) -> Measurement:
    """One network in torch.channels_last, its training step compiled before the clock starts."""
    torch.manual_seed(task.seed)
    x, y, x_valid, y_valid = tensors(load(task.data_dir, task.images))
    images, images_valid = (_laid_out(one, torch.channels_last) for one in (x, x_valid))
    model = build().to(memory_format=torch.channels_last)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    step = compiled_step(model, task.lr)
    started = time.perf_counter()
    for size in batch_sizes(task.images, task.batch_size):
        for _ in range(3):
            step(images[:size], y[:size])
    model.load_state_dict(weights)
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    for _ in range(task.epochs):
        for index in torch.randperm(len(y)).split(task.batch_size):
            step(images[index], y[index])
        clock.trained()
        clock.validated(validate(model, images_valid, y_valid, VALID_BATCH))
    return clock.measurement(threads=f"torch {torch.get_num_threads()}", compile_seconds=compile_seconds)


def _laid_out(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    return x.view(-1, 1, SIDE, SIDE).contiguous(memory_format=memory_format)


def _run(task: Task, memory_format: torch.memory_format) -> Measurement:
    torch.manual_seed(task.seed)
    x, y, x_valid, y_valid = tensors(load(task.data_dir, task.images))
    images, images_valid = (_laid_out(one, memory_format) for one in (x, x_valid))
    model = build().to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=task.lr)
    clock = Clock()
    train(task, model, optimizer, (images, y, images_valid, y_valid), clock, VALID_BATCH)
    return clock.measurement(threads=f"torch {torch.get_num_threads()}")
