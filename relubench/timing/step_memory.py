"""The memory that training takes: at its peak, and what a forward pass keeps for the backward pass.

On a GPU the allocator counts; on a processor the profiler's record of every allocation is added up.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relubench.system.device_kinds import DEVICES
from relubench.training.population import Population

_MARK = "relubench: "


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes, the data set's left out."""

    peak: int
    """The most at any moment of a network's first step: weights, optimizer, activations, gradients."""
    kept: int
    """What the forward pass leaves for the backward pass, the output included."""


@torch.no_grad()
def measure_memory(make: Callable[[], Population], gather: Callable[[Population], tuple[Tensor, Tensor]]) -> StepMemory:
    """The memory of a new network's first step, on one batch that `gather` takes for it."""
    population = make()
    x, y = gather(population)
    del population
    # A network's layers hold each other: let go in the middle of a record, they would be missing from it.
    gc.collect()
    if DEVICES[x.device.type].own_memory:
        return _counted_by_allocator(make, x, y)
    return _added_up(make, x, y)


def _step(make: Callable[[], Population], x: Tensor, y: Tensor) -> Iterator[str]:
    """A network is made and takes a step; yields the name of each phase before it begins."""
    yield "making"
    population = make()
    population.update.set_factor(1.0)
    with population.working():
        yield "forward"
        output = x
        for layer in population.layers:
            output = layer.forward(output, training=True)
        yield "backward"
        grad, _ = population.objective.gradient(output, y)
        for place in range(len(population.layers) - 1, -1, -1):
            grad = population.layers[place].backward(grad, population.update, first=place == 0)
        population.update.finish()
    yield "end"


def _counted_by_allocator(make: Callable[[], Population], x: Tensor, y: Tensor) -> StepMemory:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    at: dict[str, int] = {}
    for phase in _step(make, x, y):
        at[phase] = torch.cuda.memory_allocated()
        if phase == "forward":
            torch.cuda.reset_peak_memory_stats()
    return StepMemory(torch.cuda.max_memory_allocated() - before, at["backward"] - at["forward"])


def _added_up(make: Callable[[], Population], x: Tensor, y: Tensor) -> StepMemory:
    with _recorded() as events:
        for phase in _step(make, x, y):
            with torch.profiler.record_function(f"{_MARK}{phase}"):
                pass
    return from_events(events)


def from_events(events: Sequence[Mapping[str, Any]]) -> StepMemory:
    """The memory of a recorded step, from its allocations and the marks at which its phases begin."""
    marks = {event["name"].removeprefix(_MARK): event["ts"] for event in events if _MARK in event["name"]}
    allocations = [event for event in events if event["name"] == "[memory]" and marks["making"] <= event["ts"]]
    allocations.sort(key=lambda event: event["ts"])
    in_use = peak = at_forward = at_backward = 0
    for event in allocations:
        if event["ts"] > marks["end"]:
            break
        in_use += event["args"]["Bytes"]
        if event["ts"] <= marks["forward"]:
            peak = at_forward = in_use
        peak = max(peak, in_use)
        at_backward = in_use if event["ts"] <= marks["backward"] else at_backward
    return StepMemory(peak, max(0, at_backward - at_forward))


@contextmanager
def _recorded() -> Iterator[list[dict[str, Any]]]:
    """The profiler's events of the block, once it has ended."""
    # Without a GPU, PyTorch's builds for one say so at the first profile.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    events: list[dict[str, Any]] = []
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        yield events
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        recorded = json.loads(path.read_text())["traceEvents"]
    names = ("[memory]", _MARK)
    events += [event for event in recorded if "ts" in event and str(event.get("name", "")).startswith(names)]
