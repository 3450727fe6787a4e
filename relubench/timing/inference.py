"""How long a network takes for examples alone, without learning from them: one at a time, and a training batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from relubench.timing.stopwatch import Stopwatch
from relubench.training.population import Population

LONE, BATCH = "inference_lone", "inference"
"""The keys of what is measured: microseconds of one example alone, and of an example in a training batch."""

TURN_S = 0.01
"""Seconds of calls of one kind in a turn, at least one call."""

Forward = Callable[[Tensor], Tensor]


def forward_of(population: Population) -> Forward:
    """The network in evaluation mode: no dropout, no noise, running statistics."""

    def forward(x: Tensor) -> Tensor:
        for layer in population.layers:
            x = layer.forward(x, training=False)
        return x

    return forward


@torch.no_grad()
def time_inference(population: Population, forward: Forward, x: Tensor) -> dict[str, float]:
    """Microseconds an example of x [(1,) B, ...], whole and its first example alone."""
    dim = 1 if population.batched else 0
    lone, kernels = x.narrow(dim, 0, 1), population.kernels
    with kernels.evaluating() if kernels is not None else nullcontext():
        stopwatch = Stopwatch(population.spec.device)
        return {
            LONE: _microseconds(forward, lone, stopwatch),
            BATCH: _microseconds(forward, x, stopwatch) / x.shape[dim],
        }


def _microseconds(forward: Forward, x: Tensor, stopwatch: Stopwatch) -> float:
    """The mean of as many calls as a turn has time for, after one that makes storage."""
    # In place where they can, layers write into what they are given.
    inputs = x.clone()
    start = stopwatch.moment()
    forward(inputs)
    first = stopwatch.seconds(start, stopwatch.moment())
    calls = max(1, min(1000, round(TURN_S / max(first, 1e-6))))
    start = stopwatch.moment()
    for _ in range(calls):
        forward(inputs)
    return 1e6 * stopwatch.seconds(start, stopwatch.moment()) / calls
