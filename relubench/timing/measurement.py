"""How a timing went: one record for every kind of `relubench speed`, for the notes under its table. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relubench.statistics import timings

if TYPE_CHECKING:
    from relubench.timing.schedule import Session
    from relubench.timing.steps import StepBenchmark


@dataclass(frozen=True, slots=True)
class AgainstItself:
    """The A/A control: the intervals of a base's ratio to itself, measured in the same rounds as all other ratios."""

    cells: int
    """Intervals."""
    called: int
    """Intervals that exclude 1: false differences."""
    widest: float
    """The largest distance from 1 of any of these intervals' ends."""
    low: float | None = None
    high: float | None = None
    """The interval itself, where there is only one."""

    @property
    def expected(self) -> tuple[int, int]:
        """The range of false differences that a level of 5 % leads to."""
        return timings.binomial_band(self.cells, timings.LEVEL)

    @classmethod
    def of(cls, ratios: Sequence[timings.Estimate | None]) -> AgainstItself:
        """The control of these ratios; those without an interval do not count."""
        estimates = [ratio for ratio in ratios if ratio is not None and ratio.low is not None]
        widest = max((timings.aa_band(estimate)[1] - 1 for estimate in estimates), default=0.0)
        called = sum(timings.is_difference(estimate) for estimate in estimates)
        if len(estimates) != 1:
            return cls(len(estimates), called, widest)
        return cls(1, called, widest, estimates[0].low, estimates[0].high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """How any timing went."""

    clock: str
    rounds: int
    processes: int = 1
    seconds: float
    ended: str
    """What ended it: interval, budget, failure or interrupted."""
    budget_s: float
    rel_ci: float
    against_itself: AgainstItself
    warnings: Sequence[str] = ()
    base: str = ""
    """The candidate that every ratio is to."""
    threads: int = 0
    """Processor threads; 0 on other devices."""
    subject: str = ""
    """The network whose layers were timed: 'mnist · mlp-3x1000 · relu'."""
    images: int = 0
    """Training images of an epoch, where whole networks were timed."""
    sizes: Sequence[tuple[str, int]] = ()
    """(name, elements) of each size of an operator's output."""
    roofs: Sequence[tuple[str, str, str, float]] = ()
    """(size, dtype, pattern, GB/s) of the measured roofs."""

    def to_json(self) -> dict[str, Any]:
        """The values as the JSON of an operators' table has them."""
        control = self.against_itself
        return {
            "clock": self.clock,
            "ended": self.ended,
            "rounds": self.rounds,
            "processes": self.processes,
            "seconds": self.seconds,
            "budget_s": self.budget_s,
            "rel_ci": self.rel_ci,
            "aa_cells": control.cells,
            "aa_called": control.called,
            "aa_expected": control.expected,
            "aa_widest": control.widest,
            "roofs": self.roofs,
            "warnings": self.warnings,
            "sizes": self.sizes,
        }


def of_session(
    session: Session,
    against_itself: AgainstItself,
    warnings: Sequence[str],
    *,
    roofs: Sequence[tuple[str, str, str, float]] = (),
    subject: str = "",
) -> Measurement:
    """How the measurement of a session went."""
    return Measurement(
        clock=session.clock.name,
        rounds=session.rounds,
        processes=max((len(cell.rounds) for cell in session.cells), default=0) or 1,
        seconds=session.seconds,
        ended=session.ended,
        budget_s=session.request.budget_s,
        rel_ci=session.request.rel_ci,
        against_itself=against_itself,
        warnings=warnings,
        base=session.cells[0].base if session.cells else "",
        threads=session.request.threads,
        sizes=[(size.name, size.elements) for size in session.request.sizes],
        roofs=roofs,
        subject=subject,
    )


def of_steps(race: StepBenchmark, warnings: Sequence[str], images: int) -> Measurement:
    """How the measurement of training steps went; `images`: those of an epoch."""
    spec = next(network.population.spec for network in race.networks if network.population is not None)
    return Measurement(
        clock="time.perf_counter",
        rounds=race.rounds,
        seconds=race.seconds,
        ended=race.ended,
        budget_s=race.budget_s,
        rel_ci=race.rel_ci,
        against_itself=AgainstItself.of([race.control]),
        warnings=warnings,
        base=race.base,
        threads=spec.threads,
        images=images,
    )
