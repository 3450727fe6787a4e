"""Progress on stderr: live bars on a terminal, plain lines elsewhere, and only what is urgent with --quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from relubench.cli.progress_state import ProgressState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from relubench.experiments.events import Event

LINE_EVERY_S = 5.0
"""Least seconds between two plain lines about finished epochs."""
LINE_WITHIN_S = 15.0
"""Seconds without a line after which one says how far an epoch is."""


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


def choose(total: int, epochs: int, *, quiet: bool, elsewhere: bool = False) -> Display:
    """The display that fits stderr."""
    stream = sys.stderr
    state = ProgressState(total=total, epochs=epochs, clock=time.monotonic, elsewhere=elsewhere)
    if quiet:
        return FailuresOnly(stream)
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream)
        if not console.is_dumb_terminal:
            return LiveBars(console, state)
    return PlainLines(stream, state)


def warning(event: Event) -> str:
    """The warning about a failed run, in two lines."""
    return f"warning: {run_name(event)} failed: {event.message}\nhint: {event.hint or 'see `relubench doctor`'}"


def is_urgent(note: str) -> bool:
    """Whether a note is shown under --quiet: a warning, that another process is waited for, or a lost checkpoint."""
    return note.startswith("warning:") or ": waiting" in note or "checkpoint" in note


class FailuresOnly:
    """--quiet: only failed runs are shown, and that another process is waited for."""

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
    """One line a finished run, one a finished epoch at most every few seconds, and some within a long epoch."""

    def __init__(self, stream: TextIO, state: ProgressState, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.state = state
        self.clock = clock
        self._last = clock()
        self._cached = 0

    def show(self, event: Event) -> None:
        self.state.record(event)
        if event.kind == "cached":
            self._cached += not event.tuning
            return
        self._print_cached()
        wait = {"epoch": LINE_EVERY_S, "progress": LINE_WITHIN_S}.get(event.kind)
        if wait is not None and self.clock() - self._last < wait:
            return
        if line := line_of(event, self.state):
            self._print(line)
            self._last = self._last if wait is None else self.clock()

    def close(self) -> None:
        self._print_cached()

    def _print_cached(self) -> None:
        if self._cached:
            self._print(f"{self._cached} of {self.state.total} runs are stored already")
            self._cached = 0

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def line_of(event: Event, state: ProgressState) -> str:
    """The line for one event; empty for those that have none."""
    match event.kind:
        case "note":
            return event.message
        case "failed":
            return warning(event)
        case "epoch" | "progress":
            seconds, digits = state.seconds_left(), ".0f" if event.kind == "epoch" else ".2f"
            parts = [f"{run_name(event)}: epoch {event.epochs_done:{digits}}/{event.epochs}", facts(event)]
            parts += [f"{duration(seconds)} left" if seconds is not None else "", state.on_other_machines()]
        case "done":
            outcome = f"{event.outcome}: {event.message}" if event.outcome not in (None, "ok") else "done"
            parts = [f"{run_name(event)}: {outcome}", facts(event)]
            parts.append("" if event.tuning else f"{state.finished} of {state.total} runs finished")
        case _:
            return ""
    return ", ".join(part for part in parts if part)


MOST_BARS = 16
"""Networks with a bar of their own; of a cluster's others only the number is shown."""


class LiveBars:
    """One bar for all, and one line a running network; notes and failures scroll by above."""

    def __init__(self, console: Console, state: ProgressState) -> None:
        self.console = console
        self.state = state
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress = _bars(console)
        self._all = self._bars.add_task("all runs", total=state.total, facts="")
        self._bars.start()

    def show(self, event: Event) -> None:
        self.state.record(event)
        if event.kind in ("note", "failed") or (event.kind == "done" and event.outcome not in (None, "ok")):
            self.console.print(line_of(event, self.state), markup=False, highlight=False)
        if event.kind in ("started", "progress", "epoch"):
            self._update(self.state.running[event.run])
        elif event.run in self._tasks and event.kind in ("done", "failed", "postponed"):
            self._bars.remove_task(self._tasks.pop(event.run))
        seconds = self.state.seconds_left()
        text = f"{self.state.finished}/{self.state.total}"
        is_hiding = len(self.state.running) > MOST_BARS and not self.state.elsewhere
        text += f", {len(self.state.running)} running" if is_hiding else ""
        text += f", {machines}" if (machines := self.state.on_other_machines()) else ""
        text += f", {duration(seconds)} left" if seconds is not None and self.state.running else ""
        self._bars.update(self._all, completed=self.state.fraction_done(), facts=text)

    def close(self) -> None:
        self._bars.stop()

    def _update(self, event: Event) -> None:
        if event.run not in self._tasks and len(self._tasks) >= MOST_BARS:
            return
        if event.run not in self._tasks:
            self._tasks[event.run] = self._bars.add_task(run_name(event), total=max(event.epochs, 1), facts="")
        text = ", ".join(part for part in (f"epoch {event.epochs_done:.0f}/{event.epochs}", facts(event)) if part)
        self._bars.update(self._tasks[event.run], completed=event.epochs_done, facts=text)


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    name = TextColumn("{task.description}", markup=False)
    facts_ = TextColumn("{task.fields[facts]}", markup=False)
    return Progress(name, BarColumn(bar_width=24), facts_, console=console, transient=True, redirect_stdout=False)


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
    """`validation error 1.93 %, 5800 images/s`: the task's score and speed of a run, empty if neither is known."""
    parts = [event.stage] if event.stage else []
    if event.valid_score is not None:
        # Late: a help needs no numpy.
        from relubench.runs.task import task_called

        task = task_called(event.task)
        parts.append(f"validation {task.noun} {task.text(event.valid_score)}")
    if event.images_per_second:
        digits = ".3g" if event.images_per_second < 100 else ".0f"
        parts.append(f"{event.images_per_second:{digits}} {event.examples}/s")
    return ", ".join(parts)
