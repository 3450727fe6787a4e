"""A formula as an activation: each of its learned parameters must have a finite slope that is not 0 throughout."""

from __future__ import annotations

import torch

from relubench.activations.definition import Activation
from relubench.activations.formulas.evaluator import evaluator
from relubench.activations.formulas.formula import Formula
from relubench.errors import UsageError


def formula_activation(formula: Formula) -> Activation:
    """The formula with its learned parameters; UsageError where one of them could not learn."""
    activation = Activation(function=evaluator(formula), learned=tuple(start for _, start in formula.learned))
    if formula.learned:
        _check_learned(formula, activation)
    return activation


def _check_learned(formula: Formula, activation: Activation) -> None:
    """Refuse a slope in a learned parameter that is not finite, or 0, over all of [-6, 6], at the start."""
    grid = torch.arange(-600, 601, dtype=torch.float64) / 100
    starts = [torch.tensor([start], dtype=torch.float64, requires_grad=True) for start in activation.learned]
    # Weights that no symmetry of a function cancels.
    weights = 1 + 0.5 * torch.sin(7 * torch.arange(len(grid), dtype=torch.float64))
    with torch.enable_grad():
        h = activation.function(grid, learned=tuple(starts))
        # A comparison of what is learned passes no slope on.
        weighted = (h * weights).sum() + sum(0 * start.sum() for start in starts)
        slopes = torch.autograd.grad(weighted, starts)
    for (name, start), slope in zip(formula.learned, slopes, strict=True):
        if not bool(slope.isfinite().all()):
            raise UsageError(
                f"the slope in {name} of {formula.text} is not finite somewhere in [-6, 6]",
                f"a power of what can be negative has none: write abs(x)**{name}, or start {name} elsewhere",
            )
        if not bool(slope.any()):
            raise UsageError(
                f"{name} of {formula.text} has the slope 0 at its start, {start:g}, and would never be learned",
                f"start it elsewhere, or fix it: {name}={start:g}",
            )
