"""The optimizers that networks are trained with, a row each. Torch-free.

A new optimizer is a class in `relubench.models.optimizers` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerRow:
    """What configuration, search, memory and backend have to know of an optimizer."""

    target: str
    """"module:class" of its `relubench.models.optimizers.Optimizer`."""
    rate: float
    """The learning rate to try first."""
    rates: tuple[float, ...]
    """The learning rates that `--lr auto` tries."""
    momentum: bool = False
    """Whether it takes a momentum, and keeps a velocity for each parameter then."""
    learned_rate: bool = False
    """Whether what activations learn may have a learning rate of its own (its `gradient` asks `rate_for`)."""
    tensors: int = 0
    """Tensors that it keeps for each parameter, of the parameter's size: gradients and state, without a velocity."""
    kernels: bool = False
    """Whether the generated kernels do its plain step, without momentum and weight decay."""


OPTIMIZERS: dict[str, OptimizerRow] = {
    "sgd": OptimizerRow(
        target="relubench.models.optimizers:Sgd",
        rate=0.1,
        # The paper's own (Glorot et al. 2011, section 4.1).
        rates=(0.1, 0.01, 0.001, 0.0001),
        momentum=True,
        learned_rate=True,
        kernels=True,
    ),
    "adam": OptimizerRow(
        target="relubench.models.optimizers:Adam", rate=0.001, rates=(0.01, 0.001, 0.0001), learned_rate=True, tensors=3
    ),
    "adamw": OptimizerRow(
        target="relubench.models.optimizers:adamw",
        rate=0.001,
        rates=(0.01, 0.001, 0.0001),
        learned_rate=True,
        tensors=3,
    ),
}
"""Value of `--optimizer` -> its row."""

PAPER_RATES = OPTIMIZERS["sgd"].rates
"""Those of the paper, which pre-training tries, too."""
