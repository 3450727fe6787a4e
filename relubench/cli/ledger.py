"""How far all runs are: the arithmetic of progress, without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from relubench.experiments.events import Event

SHORTEST_S = 2.0
"""Seconds of training before a speed is trusted."""


@dataclass(kw_only=True, slots=True)
class Ledger:
    """What the events so far have said. Tuning runs count for the speed, not among the finished."""

    total: int
    """Runs of the request."""
    epochs: int
    """Epochs of each."""
    clock: Callable[[], float]
    finished: int = field(default=0, init=False)
    running: dict[str, Event] = field(default_factory=dict, init=False)
    _trained: float = field(default=0.0, init=False)
    """Epochs trained since the start by runs that have ended."""
    _begun: dict[str, float] = field(default_factory=dict, init=False)
    """Epochs that each running run had behind it when it was first heard of: those of its checkpoint."""
    _start: float | None = field(default=None, init=False)

    def record(self, event: Event) -> None:
        """Take one event in."""
        match event.kind:
            case "started":
                self.running[event.run] = event
            case "progress" | "epoch":
                # From here on, not from "started": a worker's first seconds go into importing torch.
                self._start = self.clock() if self._start is None else self._start
                self._begun.setdefault(event.run, event.epochs_done)
                last = self.running.get(event.run)
                error = (
                    event.valid_error_pct if event.valid_error_pct is not None or last is None else last.valid_error_pct
                )
                self.running[event.run] = replace(event, valid_error_pct=error)
            case "cached":
                self.finished += not event.tuning
            case "done" | "failed":
                self._end(event)
            case "postponed":
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
        left = sum(max(event.epochs - event.epochs_done, 0.0) for event in running)
        waiting = self.total - self.finished - sum(not event.tuning for event in running)
        left += max(waiting, 0) * self.epochs
        return left * (self.clock() - self._start) / trained

    def share(self) -> float:
        """Epochs of the request behind us, in units of runs (0..total)."""
        part = sum(event.epochs_done / max(event.epochs, 1) for event in self.running.values() if not event.tuning)
        return min(self.finished + part, float(self.total))

    def _end(self, event: Event) -> None:
        self.finished += not event.tuning
        last = self.running.pop(event.run, None)
        done = max(event.epochs_done, last.epochs_done if last else 0.0)
        self._trained += max(done - self._begun.pop(event.run, 0.0), 0.0)


def run_name(event: Event) -> str:
    """How a person recognises a run: `relu seed 0`, `relu, norm batch, seed 0`, `relu l1 0.5 seed 0`, or by a rate."""
    name = event.activation if event.pretraining == "none" else f"{event.activation} {event.pretraining}"
    name = f"{name}, {event.variant}," if event.variant else name
    if event.tuning:
        # A layer that several runs share, or a trial of its rate: the network's own rate says nothing of it.
        return name.rstrip(",") if event.stage else f"{name} lr {event.lr:g} (tuning)"
    return f"{name} l1 {event.l1:.3g} seed {event.seed}" if event.l1 else f"{name} seed {event.seed}"


def duration(seconds: float) -> str:
    """`40 s`, `2 min`, `3 h 5 min`: as exact as a person wants it."""
    if seconds < 99.5:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def facts(event: Event) -> str:
    """`validation error 1.93 %, 5800 images/s`: what is known of a running or finished run, empty if nothing is."""
    known = [event.stage] if event.stage else []
    if event.valid_error_pct is not None:
        known.append(f"validation error {event.valid_error_pct:.2f} %")
    if event.images_per_second:
        known.append(
            f"{event.images_per_second:.3g} images/s"
            if event.images_per_second < 100
            else f"{event.images_per_second:.0f} images/s"
        )
    return ", ".join(known)
