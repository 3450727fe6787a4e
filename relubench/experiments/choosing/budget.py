"""What a choice may spend: a number of runs, or a time. Torch-free."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field

from relubench.errors import UsageError, shown
from relubench.experiments.events import Event

HINT = "for example --budget 20m, 90s, 2h or 40runs"
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LEAST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """A number of runs, or seconds: the other one is None."""

    runs: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if self.runs is not None:
            return f"{self.runs:,} runs"
        assert self.seconds is not None
        for unit, size in (("h", 3600.0), ("m", 60.0)):
            if self.seconds >= size and self.seconds % size == 0:
                return f"{self.seconds / size:g}{unit}"
        return f"{self.seconds:g}s"

    def part(self, number: int) -> Budget:
        """One of so many equal parts of it."""
        if self.runs is not None:
            return Budget(runs=self.runs // number)
        assert self.seconds is not None
        return Budget(seconds=self.seconds / number)


def parse_budget(text: str) -> Budget:
    """The budget that --budget names; raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|runs?)", text.strip().lower())
    if match is None:
        raise UsageError(f"--budget must be a time or a number of runs, got {shown(text)}", HINT)
    number, unit = float(match[1]), match[2]
    if unit in SECONDS:
        if number * SECONDS[unit] < LEAST_SECONDS:
            raise UsageError(f"--budget must be at least one second, got {shown(text)}", HINT)
        return Budget(seconds=number * SECONDS[unit])
    if number != int(number) or number < 1:
        raise UsageError(f"--budget must be a whole number of runs, got {shown(text)}", HINT)
    return Budget(runs=int(number))


@dataclass(slots=True)
class Account:
    """What of a budget is spent, and whether a step can still be paid.

    Runs count once, whether they are trained or stored already, so that the same command gives the same answer. Of a
    time only that of this command counts, so that the same command goes on where it stopped.
    """

    budget: Budget
    clock: Callable[[], float] = time.monotonic
    reserve_share: float = 0.0
    """The part of a time that is kept for what comes after the trainings."""
    runs: set[str] = field(default_factory=set)
    started: float = field(init=False)
    seconds_a_run: float | None = None
    """Of the runs trained so far, with all workers at work; None before any is."""

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self.started

    def affords(self, num_runs: int) -> bool:
        """Whether so many more runs can be paid, as far as one knows."""
        if self.budget.runs is not None:
            return len(self.runs) + num_runs <= self.budget.runs
        seconds = num_runs * (self.seconds_a_run or 0.0)
        return self.elapsed + seconds <= self._last_second

    @property
    def _last_second(self) -> float:
        assert self.budget.seconds is not None
        return self.budget.seconds * (1 - self.reserve_share)

    def spend(self, runs: Iterable[str], trained: int, seconds: float) -> None:
        """Count runs in, of which so many were trained now and took these seconds together."""
        self.runs.update(runs)
        if trained:
            self.seconds_a_run = seconds / trained

    def until_spent(self, events: Generator[Event]) -> Generator[Event]:
        """The events, closed when the time is up; a training that is stopped so writes its checkpoint first."""
        with closing(events):
            for event in events:
                yield event
                if self.budget.seconds is not None and self.elapsed > self._last_second:
                    return
