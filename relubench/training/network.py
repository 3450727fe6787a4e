"""What probes and a captured graph need of networks in training; `training.population.Population` has all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from relubench.models.external.held_modules import Held
from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer
from relubench.runs.spec import RunSpec
from relubench.training.images import Images
from relubench.training.losses import Objective
from relubench.training.member import Member


class Network(Protocol):
    """P networks of one shape in training on one device."""

    spec: RunSpec
    data: Images
    objective: Objective
    members: list[Member]
    layers: list[Layer]
    batched: bool
    """Whether tensors have a leading member dimension."""
    l1_P: Tensor
    """The coefficient of each network's penalty on activations."""
    has_l1: bool
    held: list[Held]
    update: Optimizer

    def train_step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on one batch, x [(P,) B, ...] and y [(P,) B, K]; returns the objective's record [(P,) B, K]."""
        ...

    def train_steps(self, x_all: Tensor, y_all: Tensor, factors: Sequence[float] | Tensor) -> None:
        """Train on a chunk of batches, with one learning-rate factor each."""
        ...

    def next_factor(self) -> float:
        """The learning-rate factor of the next step."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that training would go on from: tensors, and plain values."""
        ...

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go back to a state."""
        ...
