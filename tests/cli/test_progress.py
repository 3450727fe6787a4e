"""Progress: what is shown of a sequence of events, on a terminal and elsewhere, and the time left."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from relubench.cli import progress
from relubench.cli.progress import duration, facts, run_name
from relubench.cli.progress_state import ProgressState
from relubench.cli.study import quietly
from relubench.experiments.events import RETRIED, Event
from relubench.runs.task import TASKS


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: Any, run: str = "a", **about: Any) -> Event:
    return Event(kind=kind, run=run, activation="relu", epochs=30, **about)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ProgressState:
    return ProgressState(total=2, epochs=30, clock=clock)


def test_time_left_is_at_the_speed_of_all_workers(state: ProgressState, clock: Clock) -> None:
    state.record(event("started"))
    assert state.seconds_left() is None
    state.record(event("progress", epochs_done=0.0))
    clock.now = 10.0
    state.record(event("epoch", epochs_done=5.0))
    assert state.seconds_left() == pytest.approx((25 + 30) * 2)
    state.record(event("started", run="b"))
    state.record(event("progress", run="b", epochs_done=0.0))
    clock.now = 20.0
    state.record(event("epoch", epochs_done=10.0))
    state.record(event("progress", run="b", epochs_done=10.0))
    assert state.seconds_left() == pytest.approx((20 + 20) * 20 / 20)
    assert state.fraction_done() == pytest.approx(20 / 30)


def test_what_a_checkpoint_brought_along_is_no_speed(state: ProgressState, clock: Clock) -> None:
    state.record(event("started"))
    state.record(event("progress", epochs_done=20.0))
    clock.now = 10.0
    state.record(event("epoch", epochs_done=21.0))
    assert state.seconds_left() == pytest.approx((9 + 30) * 10)


def test_starting_a_worker_is_no_training(state: ProgressState, clock: Clock) -> None:
    state.record(event("started"))
    clock.now = 100.0
    state.record(event("progress", epochs_done=0.0))
    clock.now = 110.0
    state.record(event("epoch", epochs_done=5.0))
    assert state.seconds_left() == pytest.approx((25 + 30) * 2)


def test_a_postponed_run_is_not_running(state: ProgressState, clock: Clock) -> None:
    state.record(event("started"))
    state.record(event("postponed"))
    assert state.running == {} and state.finished == 0
    assert lines(state, clock, [(0, event("started")), (0, event("postponed"))]) == []


def test_a_run_that_is_tried_again_is_counted(state: ProgressState) -> None:
    for message in (RETRIED, "", RETRIED):
        state.record(event("started"))
        state.record(event("postponed", message=message))
    assert state.running == {} and state.retried == 2


def test_tuning_runs_are_not_counted(state: ProgressState) -> None:
    state.record(event("started", tuning=True))
    state.record(event("done", tuning=True, epochs_done=30.0))
    state.record(event("cached", run="b"))
    assert state.finished == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (40.4, "40 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (11100, "3 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds).replace("1 h 40 min", "100 min") == text


def lines(state: ProgressState, clock: Clock, events: list[tuple[float, Event]]) -> list[str]:
    stream = io.StringIO()
    display = progress.PlainLines(stream, state, clock)
    for now, progress_event in events:
        clock.now = now
        display.show(progress_event)
    display.close()
    return stream.getvalue().splitlines()


def test_plain_lines(state: ProgressState, clock: Clock) -> None:
    epoch = {"valid_score": 1.934, "images_per_second": 5800.0}
    said = lines(
        state,
        clock,
        [
            (0, event("note", message="preparing digits")),
            (0, event("cached", run="b")),
            (0, event("started")),
            (0, event("progress", epochs_done=0.0)),
            (1, event("epoch", epochs_done=1.0, **epoch)),
            (3, event("progress", epochs_done=2.5)),
            (6, event("epoch", epochs_done=3.0, **epoch)),
            (7, event("epoch", epochs_done=4.0, **epoch)),
            (60, event("done", epochs_done=30.0, outcome="ok", valid_score=1.5)),
        ],
    )
    assert said == [
        "preparing digits",
        "1 of 2 runs are stored already",
        "relu seed 0: epoch 3/30, validation error 1.93 %, 5800 images/s, 54 s left",
        "relu seed 0: done, validation error 1.50 %, 2 of 2 runs finished",
    ]


def test_a_run_is_told_by_what_sets_it_apart():
    assert run_name(event("done", seed=3)) == "relu seed 3"
    assert run_name(event("done", seed=3, l1=0.123456)) == "relu l1 0.123 seed 3"
    assert run_name(event("done", lr=0.01, tuning=True)) == "relu lr 0.01 (tuning)"


def test_what_went_wrong_is_told(state: ProgressState, clock: Clock) -> None:
    said = lines(
        state,
        clock,
        [
            (0, event("done", outcome="diverged", message="the loss became nan in epoch 2")),
            (0, event("failed", run="b", seed=1, outcome="failed", message="out of memory", hint="use --batch-size 5")),
        ],
    )
    assert said == [
        "relu seed 0: diverged: the loss became nan in epoch 2, 1 of 2 runs finished",
        "warning: relu seed 1 failed: out of memory",
        "hint: use --batch-size 5",
    ]


def test_quiet_tells_failures_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.choose(2, 30, quiet=True)
    for progress_event in (event("started"), event("epoch", epochs_done=1.0), event("done", outcome="ok")):
        display.show(progress_event)
    display.show(event("failed", message="out of memory", hint="use --batch-size 5"))
    display.close()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "warning: relu seed 0 failed: out of memory\nhint: use --batch-size 5\n")


def test_live_bars(state: ProgressState, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    console = Console(file=screen, force_terminal=True, width=120)
    display = progress.LiveBars(console, state)
    display.show(event("note", message="a [note] stays"))
    display.show(event("started"))
    display.show(event("progress", epochs_done=0.0))
    clock.now = 10.0
    display.show(event("progress", epochs_done=2.5, images_per_second=5800.0, valid_score=1.93))
    display._bars.refresh()
    display.show(event("failed", outcome="failed", message="out of memory", hint="a hint"))
    display.close()
    said = screen.getvalue()
    for part in (
        "a [note] stays",
        "relu seed 0",
        "epoch 2/30, validation error 1.93 %, 5800 images/s",
        "0/2, 4 min left",
    ):
        assert part in said, part
    assert "warning: relu seed 0 failed: out of memory" in said
    assert capsys.readouterr().out == ""


def test_a_long_epoch_has_lines_within_it(state: ProgressState, clock: Clock) -> None:
    moments = [(0, 0.0), (10, 0.1), (16, 0.16), (25, 0.25), (32, 0.32)]
    epochs = [(now, event("progress", epochs_done=done, images_per_second=61.3)) for now, done in moments]
    said = lines(state, clock, [(0, event("started")), *epochs])
    assert [line.split(", ")[0].split(": ")[1] for line in said] == ["epoch 0.16/30", "epoch 0.32/30"]
    assert "61.3 images/s" in said[0] and "left" in said[1]


def test_the_display_fits_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(progress.choose(1, 1, quiet=False), progress.PlainLines)
    monkeypatch.setattr("sys.stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    live = progress.choose(1, 1, quiet=False)
    live.close()
    assert isinstance(live, progress.LiveBars)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.choose(1, 1, quiet=False), progress.PlainLines)


def test_quiet_still_says_failures_warnings_and_waits(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    display = progress.FailuresOnly(stream)
    waiting = "another process is training relu seed 0: waiting for it"
    for message in (waiting, "testing 3 networks under noise"):
        display.show(event("note", message=message))
    display.show(event("epoch", epochs_done=1.0))
    assert stream.getvalue() == f"{waiting}\n"
    urgent = [waiting, "warning: relu seed 0 is not stored (full)", "no checkpoint was written: the disk is full"]
    for note in ("preparing digits", *urgent, "another process is"):
        quietly(note)
    assert capsys.readouterr().err.splitlines() == urgent


@pytest.mark.parametrize(
    ("task", "shape", "name"),
    [
        ("classification", (1, 8, 8), "images"),
        ("classification", (30,), "rows"),
        ("regression", (8,), "rows"),
        ("reconstruction", (1, 28, 28), "images"),
        ("picture", (2,), "pixels"),
        ("language", (128,), "windows"),
    ],
)
def test_speed_counts_what_the_task_has(task: str, shape: tuple[int, ...], name: str) -> None:
    assert TASKS[task].examples_of(shape) == name
    assert facts(Event(kind="progress", images_per_second=12.34, examples=name)) == f"12.3 {name}/s"


def test_of_other_machines_it_is_said_what_they_do_and_cost(clock: Clock) -> None:
    state = ProgressState(total=4, epochs=30, clock=clock, elsewhere=True)
    for run in ("a", "b", "c"):
        state.record(event("started", run=run, threads=2))
    assert state.on_other_machines() == "3 in flight, 0 training"
    state.record(event("progress", run="a", threads=2))
    state.record(event("progress", run="b", threads=2))
    clock.now = 3600.0
    assert state.on_other_machines() == "3 in flight, 2 training, 4 processor-hours"
    state.record(event("postponed", run="b", threads=2, message=RETRIED))
    state.record(event("done", run="a", threads=2, outcome="ok"))
    clock.now = 7200.0  # Nothing is being trained.
    assert state.on_other_machines() == "1 in flight, 0 training, 1 tried again, 4 processor-hours"


def test_here_nothing_is_said_of_other_machines(state: ProgressState, clock: Clock) -> None:
    state.record(event("started", threads=2))
    state.record(event("progress", threads=2))
    clock.now = 3600.0
    assert state.on_other_machines() == ""


def test_devices_other_than_processors_have_no_processor_hours(clock: Clock) -> None:
    state = ProgressState(total=1, epochs=30, clock=clock, elsewhere=True)
    state.record(event("started"))
    state.record(event("progress"))
    clock.now = 3600.0
    assert state.on_other_machines() == "1 in flight, 1 training"
