"""A timing run before the user's eyes: it waits for others to end, counts its rounds, and warns of neighbours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

WIDTH = 78


class Rounds(Protocol):
    """What repeats a measurement until it is sure enough, or its budget is used."""

    rounds: int
    ended: str

    def run(self) -> Iterator[float]:
        """The share of the budget that is used, after each round."""
        ...


def exclusive_timing(note: Callable[[str], None]) -> AbstractContextManager[None]:
    """A block in which no other timing run of this machine is under way; `note` says that it waits."""
    from relubench.timing import machine

    return machine.exclusive_timing(
        lambda: note("another timing run is under way on this machine: waiting for it to end")
    )


def run_rounds(measurement: Rounds, *, quiet: bool) -> list[str]:
    """Repeat a measurement to its end; returns what a reader has to know of the machine meanwhile."""
    from relubench.timing.machine import MachineMonitor

    monitor = MachineMonitor()
    for share in measurement.run():
        show_round(measurement.rounds, share, ended=bool(measurement.ended), quiet=quiet)
    return monitor.warnings()


def show_round(rounds: int, share: float, *, ended: bool, quiet: bool, more: str = "") -> None:
    """The round in progress and the share of the budget that is used; wiped out at the end."""
    if quiet or not sys.stderr.isatty():
        return
    text = f"round {rounds + 1}, {more}{100 * share:.0f} % of the budget"
    sys.stderr.write("\r" + " " * WIDTH + "\r" if ended else f"\r{text:<{WIDTH}}")
    sys.stderr.flush()
