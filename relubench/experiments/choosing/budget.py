"""What a choice may spend: a number of runs, or a time. Torch-free."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from relubench.errors import UsageError, shown
from relubench.experiments.events import Event

HINT = "for example --budget 20m, 90s, 2h or 40runs"
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LEAST_SECONDS = 1.0
OVERRUN_SHARE = 0.1
"""The part of a time that trainings have for their checkpoints when it is up; what has not ended then is killed."""


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


def parse_budget(text: object) -> Budget:
    """The budget that --budget names; raises UsageError for anything else."""
    if not isinstance(text, str):
        raise UsageError(f"--budget must be a time or a number of runs, got {shown(text)}", HINT)
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
class Pace:
    """How long trainings take here, from those that have ended and, before any has, from those under way."""

    start_s: float = 0.0
    """Before the first training of a step begins: worker processes start, and data are read."""
    run_s: float | None = None
    """The mean of the trainings of the last step; None before any has ended."""
    at_once: int = 1
    """The most trainings that were under way at the same time."""
    under_way: dict[str, tuple[float, Event]] = field(default_factory=dict)
    """Run -> the moment at which it started, and its last event."""
    num_cached: int = 0
    """Runs that were stored already."""
    longest_s: float | None = None
    """The longest forecast for a run under way."""

    def observe(self, event: Event, now: float) -> None:
        """Take in what happened to a run."""
        if event.kind == "started":
            self.under_way[event.run] = (now, event)
            self.at_once = max(self.at_once, len(self.under_way))
        elif event.kind == "cached":
            self.num_cached += 1
        elif event.kind in ("done", "failed", "postponed"):
            self.under_way.pop(event.run, None)
        elif event.run in self.under_way and event.epochs_done:
            start = self.under_way[event.run][0]
            self.longest_s = max(self.longest_s or 0.0, (now - start) * event.epochs / event.epochs_done)

    def ended(self, run_seconds: Sequence[float], wall_s: float) -> None:
        """Take in a step that trained these runs, of so many seconds each, and took so long altogether."""
        self.under_way.clear()
        if run_seconds:
            self.run_s = sum(run_seconds) / len(run_seconds)
            self.start_s = max(0.0, wall_s - math.ceil(len(run_seconds) / self.at_once) * self.run_s)

    def seconds_a_run(self) -> float | None:
        """The seconds of a training; None where nothing is known yet."""
        return self.longest_s if self.run_s is None else self.run_s

    def seconds_of(self, num_runs: int) -> float:
        """The seconds of a step with so many trainings; 0 where nothing is known yet."""
        return self.start_s + math.ceil(num_runs / self.at_once) * (self.seconds_a_run() or 0.0)


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
    least_runs: int = 0
    """Of an answer that compares anything."""
    runs: set[str] = field(default_factory=set)
    started: float | None = None
    """The moment from which a time counts; None: now."""
    pace: Pace = field(default_factory=Pace)
    is_short: bool = False
    """Whether it was said that the time is too short for the least runs."""

    def __post_init__(self) -> None:
        self.started = self.clock() if self.started is None else self.started

    @property
    def elapsed(self) -> float:
        assert self.started is not None
        return self.clock() - self.started

    def affords(self, num_runs: int) -> bool:
        """Whether so many more runs can be paid, as far as one knows."""
        if self.budget.runs is not None:
            return len(self.runs) + num_runs <= self.budget.runs
        return self.elapsed + self.pace.seconds_of(num_runs) <= self._last_second

    @property
    def is_timed(self) -> bool:
        return self.budget.seconds is not None

    @property
    def is_spent(self) -> bool:
        """Whether the time for trainings is over."""
        return self.is_timed and self.elapsed > self._last_second

    @property
    def seconds_left(self) -> float:
        """Of a time, the reserve included; infinite where runs count."""
        return math.inf if self.budget.seconds is None else self.budget.seconds - self.elapsed

    @property
    def stop_seconds(self) -> float:
        """What trainings have for their checkpoints when the time is up; infinite where runs count."""
        return math.inf if self.budget.seconds is None else OVERRUN_SHARE * self.budget.seconds

    @property
    def _last_second(self) -> float:
        assert self.budget.seconds is not None
        return self.budget.seconds * (1 - self.reserve_share)

    def spend(self, runs: Iterable[str], run_seconds: Sequence[float], wall_s: float) -> None:
        """Count runs in; those trained now took so many seconds each, and all together `wall_s`."""
        self.runs.update(runs)
        self.pace.ended(run_seconds, wall_s)

    def until_spent(self, events: Generator[Event], note: Callable[[str], None]) -> Generator[Event]:
        """The events, closed when the time is up; a training that is stopped so writes its checkpoint first.

        `note` is told once where the time will not be enough for the least runs.
        """
        with closing(events):
            for event in events:
                self.pace.observe(event, self.clock())
                yield event
                if self.is_spent:
                    return
                self._foresee(note)

    def _foresee(self, note: Callable[[str], None]) -> None:
        """Say early that the time is too short, with a time that would do."""
        if self.budget.seconds is None or self.is_short or self.runs or not self.pace.longest_s:
            return
        needed = self.seconds_needed() or 0.0
        if needed > 1.2 * self.budget.seconds:
            self.is_short = True
            note(
                f"warning: one training takes about {spoken(self.pace.longest_s)}, and a first answer needs up to "
                f"{self.least_runs} of them, about {spoken(needed)}: more than the {spoken(self.budget.seconds)} that "
                "it has; what ends in time is kept, and the same command goes on"
            )

    def seconds_needed(self) -> float | None:
        """The time that the least runs need, with what is kept for prices; None where nothing is known yet."""
        if self.pace.seconds_a_run() is None:
            return None
        return self.pace.seconds_of(max(self.least_runs - self.pace.num_cached, 0)) / (1 - self.reserve_share)


def spoken(seconds: float) -> str:
    """A time in the unit that a reader would take: 8 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
