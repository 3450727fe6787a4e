"""One network of a population beside its parameters, and a moment of the population's training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from relubench.runs.result import DeadUnits, EpochPoint, LayerProbe, RegionPoint
from relubench.runs.spec import RunSpec


@dataclass(slots=True)
class Member:
    """What is kept of one network beside its parameters."""

    spec: RunSpec
    curve: list[EpochPoint]
    best_epoch: int | None = None
    best_error: float = math.inf
    stopped: Literal["", "patience", "diverged"] = ""
    probes: list[LayerProbe] = field(default_factory=list)
    dead_units: list[DeadUnits] = field(default_factory=list)
    regions: list[RegionPoint] = field(default_factory=list)

    def record(self, point: EpochPoint, patience: int | None) -> bool:
        """Add a point of the curve; returns whether it is the best so far. Nothing counts after a stop."""
        if self.stopped:
            return False
        self.curve.append(point)
        if point.train_loss is None or point.valid_loss is None or point.valid_error_pct is None:
            self.stopped = "diverged"
            return False
        better = point.valid_error_pct < self.best_error
        if better:
            self.best_epoch, self.best_error = point.epoch, point.valid_error_pct
        elif patience is not None and self.best_epoch is not None and point.epoch - self.best_epoch >= patience:
            self.stopped = "patience"
        return better


@dataclass(frozen=True, slots=True)
class Step:
    """Where training stands: yielded after every chunk of steps, and after the validation that ends an epoch."""

    epoch: int
    """The epoch in progress, or just ended; 1-based."""
    fraction: float
    images: int
    """Training images that each member has seen since the last Step."""
    epoch_ended: bool
