"""How far a study is, by its events: runs, time left, and what other machines are doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relubench.experiments.events import Event

SHORTEST_S = 2.0
"""Seconds of training before a speed is trusted."""


@dataclass(kw_only=True, slots=True)
class ProgressState:
    """How far all runs are, by the events so far. Tuning runs count for the speed, not among the finished."""

    total: int
    """Runs of the request."""
    epochs: int
    """Epochs of each."""
    clock: Callable[[], float]
    elsewhere: bool = False
    """Whether other machines may train the runs: then it is said what they are doing, and what it has cost."""
    finished: int = field(default=0, init=False)
    running: dict[str, Event] = field(default_factory=dict, init=False)
    retried: int = field(default=0, init=False)
    """How often a run was tried again because its process had ended."""
    _trained: float = field(default=0.0, init=False)
    """Epochs trained since the start by runs that have ended."""
    _begun: dict[str, float] = field(default_factory=dict, init=False)
    """Epochs that each running run had behind it at its first event: those of its checkpoint."""
    _start: float | None = field(default=None, init=False)
    _since: dict[str, float] = field(default_factory=dict, init=False)
    """When each run that is being trained reported for the first time: before, it was on its way or queued."""
    _processor_seconds: float = field(default=0.0, init=False)
    """Of attempts that have ended, lost ones included."""

    def record(self, event: Event) -> None:
        """Count an event in."""
        match event.kind:
            case "started":
                self.running[event.run] = event
            case "progress" | "epoch":
                # From here on, not from "started": a worker's first seconds go into importing torch.
                self._start = self.clock() if self._start is None else self._start
                self._begun.setdefault(event.run, event.epochs_done)
                self._since.setdefault(event.run, self.clock())
                last = self.running.get(event.run)
                score = event.valid_score if event.valid_score is not None or last is None else last.valid_score
                self.running[event.run] = replace(event, valid_score=score)
            case "cached":
                self.finished += not event.tuning
            case "done" | "failed":
                self._end(event)
            case "postponed":
                self.retried += bool(event.message)
                self._end_attempt(event)
                self.running.pop(event.run, None)
            case "note":
                pass

    def seconds_left(self) -> float | None:
        """Seconds until the last run ends, at the speed of all workers together so far; None where it is unknown."""
        if self._start is None or self.clock() - self._start < SHORTEST_S:
            return None
        trained = self._trained + sum(
            event.epochs_done - self._begun.get(run, event.epochs_done) for run, event in self.running.items()
        )
        if trained <= 0:
            return None
        running = self.running.values()
        epochs_left = sum(max(event.epochs - event.epochs_done, 0.0) for event in running)
        num_waiting = self.total - self.finished - sum(not event.tuning for event in running)
        epochs_left += max(num_waiting, 0) * self.epochs
        return epochs_left * (self.clock() - self._start) / trained

    def fraction_done(self) -> float:
        """The share of all epochs that is trained, in units of runs (0..total)."""
        part = sum(event.epochs_done / max(event.epochs, 1) for event in self.running.values() if not event.tuning)
        return min(self.finished + part, float(self.total))

    def on_other_machines(self) -> str:
        """`4 in flight, 2 training, 1 tried again, 0.3 processor-hours`; empty where this machine trains."""
        if not self.elsewhere:
            return self._retries()
        now = self.clock()
        seconds = sum((now - since) * self.running[run].threads for run, since in self._since.items())
        hours = (self._processor_seconds + seconds) / 3600
        texts = [f"{len(self.running)} in flight", f"{len(self._since)} training", self._retries()]
        return ", ".join(filter(None, [*texts, f"{hours:.2g} processor-hours" if hours else ""]))

    def _retries(self) -> str:
        return f"{self.retried} tried again" if self.retried else ""

    def _end_attempt(self, event: Event) -> None:
        """Count in what an attempt took of its node's processors."""
        now = self.clock()
        self._processor_seconds += (now - self._since.pop(event.run, now)) * event.threads

    def _end(self, event: Event) -> None:
        self._end_attempt(event)
        self.finished += not event.tuning
        last = self.running.pop(event.run, None)
        epochs_done = max(event.epochs_done, last.epochs_done if last else 0.0)
        self._trained += max(epochs_done - self._begun.pop(event.run, 0.0), 0.0)
