"""One network of a population beside its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from relubench.runs.result import DeadUnits, EpochPoint, LayerProbe, MeasuredValue, RegionPoint
from relubench.runs.spec import RunSpec
from relubench.runs.task import task_called


@dataclass(slots=True)
class Member:
    """The record of one network beside its parameters: its curve, its best epoch, its probes."""

    spec: RunSpec
    curve: list[EpochPoint]
    best_epoch: int | None = None
    best_score: float = math.inf
    """The validation score of that epoch; infinite before the first."""
    stopped: Literal["", "patience", "diverged"] = ""
    probes: list[LayerProbe] = field(default_factory=list)
    dead_units: list[DeadUnits] = field(default_factory=list)
    regions: list[RegionPoint] = field(default_factory=list)
    measured: list[MeasuredValue] = field(default_factory=list)

    def record(self, point: EpochPoint, patience: int | None) -> bool:
        """Add a point of the curve; returns whether it is the best so far. Nothing counts after a stop."""
        if self.stopped:
            return False
        self.curve.append(point)
        if point.train_loss is None or point.valid_loss is None or point.valid_score is None:
            self.stopped = "diverged"
            return False
        better = self.best_epoch is None or task_called(self.spec.task).is_better(point.valid_score, self.best_score)
        if better:
            self.best_epoch, self.best_score = point.epoch, point.valid_score
        elif patience is not None and self.best_epoch is not None and point.epoch - self.best_epoch >= patience:
            self.stopped = "patience"
        return better

    def forget_best(self) -> None:
        """The next epoch is the best so far, whatever came before: the network is another one now."""
        self.best_epoch, self.best_score = None, math.inf

    def measure(self, name: str, epoch: int, value: float) -> None:
        """Keep what a probe measured of the network after an epoch."""
        number = value if math.isfinite(value) else None
        self.measured.append(MeasuredValue(name=name, epoch=epoch, value=number))

    def state(self) -> dict[str, Any]:
        """All of it but the specification, as plain values for a checkpoint."""
        return {
            "curve": [asdict(point) for point in self.curve],
            "best_epoch": self.best_epoch,
            "best_error": None if math.isinf(self.best_score) else self.best_score,
            "stopped": self.stopped,
            "probes": [asdict(probe) for probe in self.probes],
            "dead_units": [asdict(layer) for layer in self.dead_units],
            "regions": [asdict(point) for point in self.regions],
            "measured": [asdict(value) for value in self.measured],
        }

    def load(self, values: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises KeyError or TypeError if it is something else."""
        self.curve = [EpochPoint(**point) for point in values["curve"]]
        self.best_epoch, self.stopped = values["best_epoch"], values["stopped"]
        self.best_score = math.inf if values["best_error"] is None else values["best_error"]
        self.probes = [LayerProbe(**probe) for probe in values["probes"]]
        self.dead_units = [DeadUnits(**layer) for layer in values["dead_units"]]
        self.regions = [RegionPoint(**point) for point in values["regions"]]
        # A checkpoint of an earlier version has none.
        self.measured = [MeasuredValue(**value) for value in values.get("measured", ())]
