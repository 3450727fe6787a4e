"""The time of each stage of a training step, from steps that are taken apart: data, forward, backward, update.

The update is fused with the product that gives the weights' gradient, so that this product counts as update; kernels
update the weights within the backward pass, and then there is no stage `update`.

Shapes: B batch, K output units; x [B, ...], with members [1, B, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor

from relubench.models.optimizers import Optimizer, Parameter
from relubench.timing.stopwatch import Stopwatch
from relubench.training.population import Population

STAGES = ("data", "forward", "backward", "update")

Batches = Callable[[], tuple[Tensor, Tensor, int]]
"""Gathers the next examples and targets, and tells the number of batches that they are."""


def time_stages(population: Population, gather: Batches) -> dict[str, float]:
    """The microseconds an example in each stage."""
    spec = population.spec
    stopwatch = Stopwatch(spec.device)
    timed_optimizer = TimedOptimizer(population.update, stopwatch) if population.kernels is None else None
    update = cast(Optimizer, timed_optimizer or population.update)
    seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    with population.working():
        start = stopwatch.moment()
        x_all, y_all, batches = gather()
        spans = [("data", start, stopwatch.moment())]
        dim = 1 if population.batched else 0
        for x, y in zip(x_all.split(spec.batch_size, dim), y_all.split(spec.batch_size, dim), strict=True):
            spans += _step_spans(population, update, x, y, stopwatch)
    for name, start, end in spans:
        seconds[name] += stopwatch.seconds(start, end)
    if timed_optimizer is None:
        del seconds["update"]
    else:
        seconds["update"] = timed_optimizer.seconds()
        seconds["backward"] -= seconds["update"]
    return {name: 1e6 * value / (batches * spec.batch_size) for name, value in seconds.items()}


def _step_spans(
    population: Population, update: Optimizer, x: Tensor, y: Tensor, stopwatch: Stopwatch
) -> list[tuple[str, Any, Any]]:
    """One training step; of each stage its name, its beginning and its end."""
    update.set_factor(1.0)
    start = stopwatch.moment()
    for layer in population.layers:
        x = layer.forward(x, training=True)
    forwarded = stopwatch.moment()
    grad, _ = population.objective.gradient(x, y)
    for index in range(len(population.layers) - 1, -1, -1):
        grad = population.layers[index].backward(grad, update, first=index == 0)
    update.finish()
    return [("forward", start, forwarded), ("backward", forwarded, stopwatch.moment())]


class TimedOptimizer:
    """An optimizer whose seconds are counted."""

    def __init__(self, inner: Optimizer, stopwatch: Stopwatch) -> None:
        self.inner, self.stopwatch = inner, stopwatch
        self.spans: list[tuple[Any, Any]] = []

    def set_factor(self, factor: float | Tensor) -> None:
        self.inner.set_factor(factor)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        self._timed(lambda: self.inner.product(parameter, delta, x))

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        self._timed(lambda: self.inner.gradient(parameter, grad))

    def finish(self) -> None:
        self._timed(self.inner.finish)

    def seconds(self) -> float:
        """All of them."""
        return sum(self.stopwatch.seconds(start, end) for start, end in self.spans)

    def _timed(self, call: Callable[[], None]) -> None:
        start = self.stopwatch.moment()
        call()
        self.spans.append((start, self.stopwatch.moment()))
