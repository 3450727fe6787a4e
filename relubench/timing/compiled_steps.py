"""A network's training step and its evaluation in the form that torch.compile makes of them."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from relubench.errors import ComputeError
from relubench.system.compiler import compiled
from relubench.timing.inference import Forward, forward_of
from relubench.training.population import Population

COMPILED = " compiled"
"""What the label of a network's compiled form ends with."""

RELATIVE, ABSOLUTE = 1e-2, 1e-3
"""How far what a compiled step gives may be from what the step itself gives: another order of sums, not another sum."""


@torch.no_grad()
def compile_steps(population: Population, plain: Population, x: Tensor, y: Tensor) -> tuple[Forward, float]:
    """Makes the population's step a compiled one; returns its compiled evaluation, and the seconds that both took.

    `plain`: the same network once more, which is not compiled. Raises ComputeError where the two differ.
    """
    start = time.perf_counter()
    step = population.train_step
    population.train_step = compiled(lambda x, y: step(x, y))  # type: ignore[method-assign]
    dim = 1 if population.batched else 0
    forward = compiled(forward_of(population))
    records = []
    for network in (population, plain):
        network.update.set_factor(1.0)
        with network.working():
            records.append(network.train_step(x.clone(), y))
    outputs = [forward(x.clone()), forward_of(plain)(x.clone())]
    forward(x.narrow(dim, 0, 1).clone())
    seconds = time.perf_counter() - start
    for name, (compiled_values, values) in {"training": records, "evaluation": outputs}.items():
        if not torch.allclose(compiled_values, values, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            worst = float((compiled_values - values).abs().max())
            raise ComputeError(f"compiled, its {name} gives other numbers, by {worst:.2g}", "leave --compile out")
    return forward, seconds
