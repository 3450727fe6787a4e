"""The clock of one job: it counts wall-clock seconds, and goes on where an interrupted training stopped. Torch-free."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relubench.runs.result import Timing


@dataclass(slots=True)
class Clock:
    """Wall-clock time of a run, over all the processes that worked on it."""

    seconds: float = 0.0
    train_seconds: float = 0.0
    images: int = 0
    epoch_seconds: list[float] = field(default_factory=list)
    interruptions: int = 0
    last_tick: float = field(default_factory=time.perf_counter)

    def tick(self) -> float:
        """Seconds since the last tick, added to the total."""
        now = time.perf_counter()
        elapsed, self.last_tick = now - self.last_tick, now
        self.seconds += elapsed
        return elapsed

    def count(self, images: int, *, epoch_ended: bool) -> float:
        """Count in a chunk of steps on so many images, or the validation that ended an epoch; returns the time now."""
        passed = self.tick()
        self.images += images
        if epoch_ended:
            self.epoch_seconds.append(self.seconds)
        else:
            self.train_seconds += passed
        return self.last_tick

    @property
    def rate(self) -> float | None:
        """The images of one member per second so far, validation included; None before the first step."""
        return self.images / max(self.seconds, 1e-9) if self.images else None

    def to_json(self) -> dict[str, Any]:
        names = ("seconds", "train_seconds", "images", "epoch_seconds", "interruptions")
        return {name: getattr(self, name) for name in names}

    def go_on(self, values: Mapping[str, Any]) -> None:
        """Go on from where a clock stood when the training was interrupted: from its `to_json`."""
        for name, value in values.items():
            setattr(self, name, value)
        self.interruptions += 1

    def timing(self, num_members: int, pretraining: float = 0.0) -> Timing:
        """The timing of one member; of networks that are trained together, each has an equal share.

        `pretraining`: seconds that its pre-training took, which came before.
        """
        return Timing(
            seconds=pretraining + self.seconds / num_members,
            epoch_seconds=[pretraining + seconds / num_members for seconds in self.epoch_seconds],
            images_per_second=self.images * num_members / max(self.train_seconds, 1e-9),
            host=platform.node(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            interruptions=self.interruptions,
            pretraining_seconds=pretraining,
        )
