"""What the training commands do with a study: run it under the eyes of the user, then say what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from relubench.cli import output, progress
from relubench.errors import EXIT_INTERRUPTED, ComputeError

if TYPE_CHECKING:
    from relubench.reports.report import Report
    from relubench.results import Event
    from relubench.runner import Study


def note_to(quiet: bool) -> Callable[[str], None]:
    """Where the study's notes go; with --quiet nowhere."""
    return (lambda text: None) if quiet else output.say


def present(
    study: Study,
    report_of: Callable[[Study], Report],
    target: output.Target,
    *,
    plot: Path | None,
    quiet: bool,
    epochs: int,
) -> None:
    """Carry the study out and write its report; raises Exit if interrupted, ComputeError if nothing was computed.

    `epochs`: those of a typical run, for the time that is left.
    """
    interrupted = carry_out(study, quiet, epochs)
    finished = sum(result.outcome != "failed" for result in study.results)
    if study.results:
        report = report_of(study)
        output.emit_report(report, target)
        if plot is not None and finished:
            _plot(study, plot)
        if not target.for_people and not quiet:
            output.say(report.sentence)
    if interrupted:
        output.say(f"interrupted: {finished} of {study.total} runs are finished; the same command goes on from here")
        raise typer.Exit(EXIT_INTERRUPTED)
    if not finished:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")


def carry_out(study: Study, quiet: bool, epochs: int) -> bool:
    """Run the study to its end, showing progress; returns whether it was interrupted."""
    display = progress.choose(study.total, epochs, quiet=quiet)
    # A generator: closing it stops the workers.
    events = cast("Generator[Event]", study.run())
    try:
        with contextlib.closing(events):
            for event in events:
                display.show(event)
    except KeyboardInterrupt:
        return True
    finally:
        display.close()
    return False


def stored_runs(study: Study) -> list[dict[str, Any]]:
    """The runs of a report: results with their timings."""
    clocks = {run: timing.to_json() if timing else None for run, timing in study.timings.items()}
    return [{**result.to_json(), "timing": clocks.get(result.id)} for result in study.results]


def _plot(study: Study, plot: Path) -> None:
    from relubench.reports.plots import plot_curves

    plot_curves(study.results, study.timings, plot)
