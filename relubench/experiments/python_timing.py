"""Timings that Python starts: measured to the end without a word, and given back with what a reader has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from relubench.activations import select
from relubench.errors import ComputeError
from relubench.experiments.named_settings import SpeedSettings
from relubench.experiments.network_speed import failure_of, products_of, sparse_settings, steps_of
from relubench.experiments.operator_speed import OperatorTiming, arithmetic_session, operator_request
from relubench.experiments.speed import Rounds, alone, run_rounds, timing_request
from relubench.experiments.study import Study
from relubench.system.device import resolve
from relubench.timing.request import Request
from relubench.timing.schedule import Session
from relubench.timing.sparse_products import Setting
from relubench.timing.steps import StepBenchmark

Measured = TypeVar("Measured", bound=Rounds)


@dataclass(slots=True)
class Timed(Generic[Measured]):
    """A finished measurement, the device it was on, and what a reader has to know of the machine meanwhile."""

    measurement: Measured
    device: str
    warnings: list[str] = field(default_factory=list)

    def to_the_end(self) -> Timed[Measured]:
        """Itself, measured."""
        for _ in run_rounds(self.measurement, self.warnings):
            pass
        return self


def limits_of(named: Mapping[str, Any]) -> dict[str, Any]:
    """Until when to measure, as the command line has it, and the seed of inputs and order."""
    rel_ci, budget = named.get("rel_ci"), named.get("budget")
    return {
        "rel_ci": None if rel_ci is None else f"{100 * rel_ci:g}%",
        "budget": None if budget is None else f"{budget:g}",
        "seed": named.get("seed"),
    }


def time_operators(acts: Sequence[str], named: SpeedSettings) -> Timed[Session]:
    """These activations, timed as the settings say."""
    choices, place = select(acts), resolve(named.get("device") or "auto")
    request = operator_request(
        choices,
        place,
        size=_texts(named.get("size")),
        dtype=_texts(named.get("dtype")),
        passes=_texts(named.get("passes")),
        compiled=bool(named.get("compiled")),
        threads=named.get("threads"),
        **limits_of(named),
    )
    with alone(_silent):
        timing = OperatorTiming(request, choices, acts, place)
        for _ in timing.run():
            pass
    return Timed(timing.session, place.name, timing.warnings)


def time_arithmetic(named: SpeedSettings) -> Timed[Session]:
    """The article's operations, timed."""
    request, place = timing_request("--arithmetic", **limits_of(named)), resolve(named.get("device") or "cpu")
    with alone(_silent):
        return Timed(arithmetic_session(request, place), place.name).to_the_end()


def time_products(study: Study, request: Request) -> tuple[Timed[Session], list[Setting]]:
    """The products of a finished study's one network, timed, and what was multiplied."""
    settings = sparse_settings(study)
    with alone(_silent):
        return Timed(products_of(settings, request), study.device.name).to_the_end(), settings


def time_networks(study: Study, request: Request) -> Timed[StepBenchmark]:
    """The training steps of a finished study's networks, timed; raises ComputeError where none could be."""
    with alone(_silent):
        timed = Timed(steps_of(study, request), study.device.name).to_the_end()
    if failure := failure_of(timed.measurement):
        raise ComputeError(f"no step could be timed: {failure}", "relubench.train gives the rows of the training")
    return timed


def _texts(texts: str | Sequence[str] | None) -> Sequence[str] | None:
    return [texts] if isinstance(texts, str) else texts


def _silent(text: str) -> None:
    """Says nothing."""
