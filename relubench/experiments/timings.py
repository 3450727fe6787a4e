"""A measurement from its preparation to its last round, alone on this machine, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from relubench.timing.machine import MachineMonitor, exclusive_timing
from relubench.timing.processes import ProcessSeries
from relubench.timing.schedule import Session
from relubench.timing.steps import StepBenchmark

Measurement = TypeVar("Measurement", Session, StepBenchmark, ProcessSeries)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a measurement has come."""

    rounds: int
    share: float
    """The used share of the budget."""
    process: int | None = None
    """Which process measures, where several do."""
    num_open: int = 0
    """Cells that are not sure enough yet."""


Watch = Callable[[Generator[Progress]], None]
"""Goes through the rounds of a measurement, and closes them."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[Measurement]):
    """A finished measurement, the device it was on, and what a reader has to know of the machine meanwhile."""

    measurement: Measurement
    device: str
    warnings: list[str]


def unwatched(rounds: Generator[Progress]) -> None:
    """Goes through the rounds without a word."""
    for _ in rounds:
        pass


def time_rounds(
    prepare: Callable[[], Measurement],
    device: str,
    watch: Watch,
    note: Callable[[str], None],
    *,
    keep_interrupted: bool = False,
) -> Timed[Measurement]:
    """What `prepare` makes ready, measured; `note` says that another timing run of this machine is waited for.

    `keep_interrupted`: what was measured until Ctrl-C is a result, too.
    """
    warnings: list[str] = []
    with exclusive_timing(lambda: note("another timing run is under way on this machine: waiting for it to end")):
        measurement = prepare()
        try:
            watch(_rounds(measurement, warnings))
        except KeyboardInterrupt:
            if not (keep_interrupted and _interrupt(measurement)):
                raise
    return Timed(measurement, device, warnings)


def _rounds(measurement: Session | StepBenchmark | ProcessSeries, warnings: list[str]) -> Generator[Progress]:
    # Not before: what the compiler's processes do is not a neighbour's.
    monitor = MachineMonitor()
    try:
        with torch.set_grad_enabled(isinstance(measurement, StepBenchmark)):
            if isinstance(measurement, ProcessSeries):
                for num_rounds, num_open, share in measurement.run():
                    yield Progress(num_rounds, share, measurement.done + 1, num_open)
                return
            for share in measurement.run():
                cells = measurement.cells if isinstance(measurement, Session) else ()
                yield Progress(measurement.rounds, share, num_open=sum(not cell.done for cell in cells))
    finally:
        warnings += monitor.warnings()


def _interrupt(measurement: Session | StepBenchmark | ProcessSeries) -> bool:
    """Ends a measurement before its time; returns whether there is anything to report."""
    session = measurement.session if isinstance(measurement, ProcessSeries) else measurement
    session.ended = "interrupted"
    return bool(measurement.done if isinstance(measurement, ProcessSeries) else measurement.rounds)
