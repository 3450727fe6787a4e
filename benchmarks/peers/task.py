"""What a peer is asked to do, and what it hands back. Free of torch, JAX and numpy: each peer imports its own."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

VALID_BATCH = 2000
"""Images validated at once. (Not 1000, the width: XLA then falls back to a product that is 50 times slower.)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One training: 784 - hidden - 10 with ReLU, or the small CNN; softmax cross-entropy, constant lr, plain SGD."""

    batch_size: int
    epochs: int
    images: int
    """Training images an epoch."""
    seed: int
    lr: float = 0.1
    hidden: tuple[int, ...] = (1000, 1000, 1000)
    cnn: bool = False
    members: int = 1
    """Networks to train, each from a seed of its own."""
    data_dir: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        return cls(**{**values, "hidden": tuple(values["hidden"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What the clock said of one peer's training."""

    seconds: float
    """All epochs of all networks, validation included; neither start-up nor compilation."""
    train_seconds: float
    """The same without validation."""
    valid_error_pct: list[float]
    """After each epoch; of several networks, one after another."""
    compile_seconds: float = 0.0
    """Warming up what is compiled, before the clock starts."""
    command_seconds: float | None = None
    """Whole life of the process, where the peer is a command; else the parent measures it."""
    test_seconds: float = 0.0
    """What `seconds` holds beyond training and validation: relubench's final test."""
    threads: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Clock:
    """Takes the time of training and of validation apart; starts when it is made."""

    mark: float = field(default_factory=time.perf_counter)
    train_seconds: float = 0.0
    valid_seconds: float = 0.0
    errors: list[float] = field(default_factory=list)

    def restart(self) -> None:
        """Forget the time since the last mark: it was preparation."""
        self.mark = time.perf_counter()

    def trained(self) -> None:
        """An epoch's training has just ended."""
        self.train_seconds += self._lap()

    def validated(self, error: float | None) -> None:
        """An epoch's validation has just ended with this share of wrong answers; None: it only went through it."""
        self.valid_seconds += self._lap()
        if error is not None:
            self.errors.append(round(100.0 * error, 3))

    def measurement(self, *, threads: str, compile_seconds: float = 0.0) -> Measurement:
        return Measurement(
            seconds=self.train_seconds + self.valid_seconds,
            train_seconds=self.train_seconds,
            valid_error_pct=self.errors,
            compile_seconds=compile_seconds,
            threads=threads,
        )

    def _lap(self) -> float:
        now = time.perf_counter()
        passed, self.mark = now - self.mark, now
        return passed
