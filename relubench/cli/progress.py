"""Progress on stderr: live bars on a terminal, plain lines elsewhere, failures and waits alone with --quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from relubench.cli.ledger import Ledger, duration, facts, run_name
from relubench.experiments.events import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 5.0
"""Least seconds between two plain lines about finished epochs."""


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


def choose(total: int, epochs: int, *, quiet: bool) -> Display:
    """The display that fits stderr."""
    stream = sys.stderr
    ledger = Ledger(total=total, epochs=epochs, clock=time.monotonic)
    if quiet:
        return FailuresOnly(stream)
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream)
        if not console.is_dumb_terminal:
            return LiveBars(console, ledger)
    return PlainLines(stream, ledger)


def warning(event: Event) -> str:
    """What is said of a failed run, on two lines."""
    return f"warning: {run_name(event)} failed: {event.message}\nhint: {event.hint or 'see `relubench doctor`'}"


def is_urgent(note: str) -> bool:
    """Whether --quiet leaves a note standing: a warning, or why nothing happens while another process works."""
    return note.startswith("warning:") or ": waiting" in note


class FailuresOnly:
    """--quiet: failed runs are still told, and that another process is waited for."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def show(self, event: Event) -> None:
        if event.kind == "failed":
            print(warning(event), file=self.stream, flush=True)
        elif event.kind == "note" and is_urgent(event.message):
            print(event.message, file=self.stream, flush=True)

    def close(self) -> None:
        pass


class PlainLines:
    """One line a finished run, and one a finished epoch at most every few seconds."""

    def __init__(self, stream: TextIO, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.ledger = ledger
        self.clock = clock
        self._last = clock()
        self._cached = 0

    def show(self, event: Event) -> None:
        self.ledger.record(event)
        if event.kind == "cached":
            self._cached += not event.tuning
            return
        self._tell_cached()
        if event.kind == "epoch" and self.clock() - self._last < LINE_EVERY_S:
            return
        if line := line_of(event, self.ledger):
            self._print(line)
            self._last = self.clock() if event.kind == "epoch" else self._last

    def close(self) -> None:
        self._tell_cached()

    def _tell_cached(self) -> None:
        if self._cached:
            self._print(f"{self._cached} of {self.ledger.total} runs are stored already")
            self._cached = 0

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def line_of(event: Event, ledger: Ledger) -> str:
    """The line for one event; empty for those that have none."""
    match event.kind:
        case "note":
            return event.message
        case "failed":
            return warning(event)
        case "epoch":
            left = ledger.seconds_left()
            parts = [f"{run_name(event)}: epoch {event.epochs_done:.0f}/{event.epochs}", facts(event)]
            parts.append(f"{duration(left)} left" if left is not None else "")
        case "done":
            outcome = f"{event.outcome}: {event.message}" if event.outcome not in (None, "ok") else "done"
            parts = [f"{run_name(event)}: {outcome}", facts(event)]
            parts.append("" if event.tuning else f"{ledger.finished} of {ledger.total} runs finished")
        case _:
            return ""
    return ", ".join(part for part in parts if part)


class LiveBars:
    """One bar for all, and one line a running network; notes and failures scroll by above."""

    def __init__(self, console: Console, ledger: Ledger) -> None:
        self.console = console
        self.ledger = ledger
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress = _bars(console)
        self._all = self._bars.add_task("all runs", total=ledger.total, facts="")
        self._bars.start()

    def show(self, event: Event) -> None:
        self.ledger.record(event)
        if event.kind in ("note", "failed") or (event.kind == "done" and event.outcome not in (None, "ok")):
            self.console.print(line_of(event, self.ledger), markup=False, highlight=False)
        if event.kind in ("started", "progress", "epoch"):
            self._update(self.ledger.running[event.run])
        elif event.run in self._tasks and event.kind in ("done", "failed", "postponed"):
            self._bars.remove_task(self._tasks.pop(event.run))
        left = self.ledger.seconds_left()
        counted = f"{self.ledger.finished}/{self.ledger.total}"
        told = f"{counted}, {duration(left)} left" if left is not None and self.ledger.running else counted
        self._bars.update(self._all, completed=self.ledger.share(), facts=told)

    def close(self) -> None:
        self._bars.stop()

    def _update(self, event: Event) -> None:
        if event.run not in self._tasks:
            self._tasks[event.run] = self._bars.add_task(run_name(event), total=max(event.epochs, 1), facts="")
        told = ", ".join(part for part in (f"epoch {event.epochs_done:.0f}/{event.epochs}", facts(event)) if part)
        self._bars.update(self._tasks[event.run], completed=event.epochs_done, facts=told)


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    name = TextColumn("{task.description}", markup=False)
    told = TextColumn("{task.fields[facts]}", markup=False)
    return Progress(name, BarColumn(bar_width=24), told, console=console, transient=True, redirect_stdout=False)
