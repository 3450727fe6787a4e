"""PyTorch with torchvision's MNIST, ToTensor and a DataLoader: the quickstart of PyTorch's own tutorials."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from benchmarks.mnist import N_TRAIN, unpack_for_torchvision
from benchmarks.network import xavier
from benchmarks.peers.pytorch_plain import build, train_step
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task


def run(task: Task) -> Measurement:
    """One network. num_workers is the default, 0, as in the tutorial; images are decoded and scaled one by one."""
    torch.manual_seed(task.seed)
    with tempfile.TemporaryDirectory() as folder:
        unpack_for_torchvision(task.data_dir, Path(folder))
        mnist = datasets.MNIST(folder, train=True, transform=transforms.ToTensor())
    train = DataLoader(Subset(mnist, range(task.images)), batch_size=task.batch_size, shuffle=True)
    valid = DataLoader(Subset(mnist, range(N_TRAIN, len(mnist))), batch_size=VALID_BATCH)
    model = nn.Sequential(nn.Flatten(), build(xavier(task.seed, task.hidden)))
    optimizer = torch.optim.SGD(model.parameters(), lr=task.lr)
    clock = Clock()
    for _ in range(task.epochs):
        for x, y in train:
            train_step(model, optimizer, x, y)
        clock.trained()
        clock.validated(_validate(model, valid))
    return clock.measurement(threads=f"torch {torch.get_num_threads()}, 0 loader processes")


@torch.no_grad()
def _validate(model: nn.Module, valid: DataLoader) -> float:
    wrong, loss, seen = 0, 0.0, 0
    for x, y in valid:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        wrong += int((logits.argmax(1) != y).sum())
        seen += len(y)
    return wrong / seen
