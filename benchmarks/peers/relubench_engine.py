"""relubench's engine from weights that are given to it, in their precision: for agreement only, never timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.network import CLASSES, Weights
from relubench.activations import select
from relubench.data import prepare
from relubench.data.prepared import DataOptions
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.system.device import resolve
from relubench.training.images import Images
from relubench.training.population import Population


def train_mlp(
    weights: Weights, hidden: tuple[int, ...], lr: float, x: np.ndarray, y: np.ndarray, data_dir: Path | None
) -> Weights:
    """The weights after one step for each batch of x [S, B, 784] and y [S, B]."""
    tensors = [(torch.tensor(weight), torch.tensor(bias)) for weight, bias in weights]
    population = _population("mlp-" + "-".join(map(str, hidden)), tensors, lr, x.shape[1], data_dir)
    with torch.no_grad():
        for images, labels in zip(torch.from_numpy(x), torch.from_numpy(y), strict=True):
            population.train_step(images, _one_hot(labels, images.dtype))
    named = {one.name: one.value.numpy() for one in population.parameters}
    return [(named[f"{place}.weight"], named[f"{place}.bias"]) for place in range(len(weights))]


def train_cnn(
    weights: Sequence[tuple[Tensor, Tensor]], lr: float, x: Tensor, y: Tensor, data_dir: Path | None
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The weights after each step on x [S, B, 1, 28, 28] and y [S, B]."""
    population = _population("cnn", weights, lr, x.shape[1], data_dir)
    named = {one.name: one.value for one in population.parameters}
    for images, labels in zip(x, y, strict=True):
        with torch.no_grad():
            y_hot = _one_hot(labels, images.dtype)
            population.train_step(images.contiguous(memory_format=torch.channels_last), y_hot)
        yield [(named[f"{place}.weight"], named[f"{place}.bias"]) for place in range(len(weights))]


def _one_hot(labels: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.nn.functional.one_hot(labels, CLASSES).to(dtype)


def _population(
    model: str, weights: Sequence[tuple[Tensor, Tensor]], lr: float, batch_size: int, data_dir: Path | None
) -> Population:
    """A population of one, as the command makes it, but for its initial weights and their precision."""
    found = population(model, lr=lr, batch_size=batch_size, data_dir=data_dir)
    named = {one.name: one for one in found.parameters}
    for place, (weight, bias) in enumerate(weights):
        named[f"{place}.weight"].value = weight.clone(memory_format=torch.preserve_format)
        named[f"{place}.bias"].value = bias.clone()
    return found


def population(
    model: str,
    *,
    lr: float,
    batch_size: int,
    data_dir: Path | None,
    images: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    threads: int | None = None,
) -> Population:
    """A population of one on MNIST, as the command makes it; `threads`: as for a lone run."""
    train = {"lr": lr, "batch_size": batch_size, "epochs": epochs}
    config = experiment({"act": ["relu"], "seeds": [seed], "model": {"name": model}, "train": train})
    choices = select(config.act)
    prepared = prepare("mnist", data_dir=data_dir, options=DataOptions(train_size=images))
    (spec,) = expand(config, choices, prepared, resolve("cpu"), [lr])
    spec = replace(spec, threads=threads or spec.threads)
    return Population([spec], choices[0], Images.open(prepared, device="cpu", flat=not spec.channels))
