"""A chunk of training steps as one CUDA graph: a step of a small network is launch-bound, and a replay launches once.

Captured once for each population, from static storage that every chunk is copied into; nothing synchronises. A last,
shorter chunk of an epoch is trained step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from relubench.training.network import Network

WARMUP_CHUNKS = 2
"""Chunks trained before the capture, so that storage exists and kernels are chosen; their effect is undone."""


class ChunkGraph:
    """The steps of a full chunk of `population`."""

    def __init__(self, population: Network) -> None:
        self.population = population
        self.graph: torch.cuda.CUDAGraph | None = None
        self.x = self.y = self.factors = torch.empty(0)

    def run(self, x: Tensor, y: Tensor, factors: Sequence[float]) -> None:
        """Train on a full chunk: x [P, chunk*B, ...], y [P, chunk*B, K], one learning rate factor a step."""
        if self.graph is None:
            self.x, self.y = x.clone(), y.clone()
            self.factors = torch.zeros(len(factors), device=x.device)
            self.graph = self._capture()
        self.x.copy_(x)
        self.y.copy_(y)
        self.factors.copy_(torch.tensor(factors))
        self.graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        population = self.population
        before = {key: value.clone() for key, value in population.state()[0].items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP_CHUNKS):
                population.train_steps(self.x, self.y, self.factors)
        torch.cuda.current_stream().wait_stream(side)
        for key, value in population.state()[0].items():
            value.copy_(before[key])
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            population.train_steps(self.x, self.y, self.factors)
        return graph
