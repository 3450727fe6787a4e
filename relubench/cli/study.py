"""A study before the user's eyes: progress while it runs, its table and plot, and what an interruption leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import typer

from relubench.cli import options, output, pages, progress
from relubench.errors import EXIT_INTERRUPTED, ComputeError
from relubench.system import interrupts

if TYPE_CHECKING:
    from relubench.cli.output import Target
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.events import Event
    from relubench.experiments.plan import Variant
    from relubench.experiments.record import StudyRecord
    from relubench.experiments.study import Study
    from relubench.reports.report import Report
    from relubench.runs.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFlags:
    """The flags of a command that trains: where its data, its runs and its result lie, and how much it says."""

    data_dir: options.DataDir = None
    runs_dir: options.RunsDir = None
    no_cache: options.NoCache = False
    format: options.Format = None
    output_file: options.OutputFile = None
    plot: options.Plot = None
    report: options.ReportFile = None
    log: options.Logs = None
    caption: options.Caption = None
    quiet: options.Quiet = False

    def target(self) -> Target:
        """Where the result goes; raises UsageError where it or the plot could not be written."""
        target = output.choose(self.format, self.output_file)
        output.check_plot(self.plot)
        pages.check_page(self.report)
        pages.check_logs(self.log)
        return target

    def note(self, text: str) -> None:
        """Say a line on stderr; with --quiet only what is urgent."""
        (quietly if self.quiet else output.say)(text)

    def open(self, request: ExperimentConfig | Sequence[Variant], note: Callable[[str], None] | None = None) -> Study:
        """The study of a configuration or of a preset's variants; raises typer.Exit(130) where it is interrupted."""
        from relubench.experiments.study import Study

        with preparing():
            return Study.open(
                request, data_dir=self.data_dir, runs_dir=self.runs_dir, fresh=self.no_cache, note=note or self.note
            )


def show_study(study: Study, report_of: Callable[[StudyRecord], Report], target: Target, flags: StudyFlags) -> None:
    """Carry the study out and show what came of it; `report_of` is asked once, for what is finished by then.

    Raises typer.Exit(130) if it was interrupted, ComputeError if nothing was computed.
    """
    output.check_stdout(target)
    show_record(study, report_of, target, flags, interrupted=carry_out(study, flags.quiet, flags.log))


def show_record(
    study: Study, report_of: Callable[[StudyRecord], Report], target: Target, flags: StudyFlags, *, interrupted: bool
) -> None:
    """Show what came of a study that was carried out; raises what `show_study` raises."""
    from relubench.experiments.record import record_of

    record = record_of(study)
    if record.results:
        report = pages.finished(report_of(record), flags.caption)
        output.emit_report(report, target, quiet=flags.quiet)
        if record.finished:
            if flags.report is not None:
                from relubench.reports.plots.fitted_pictures import with_pictures

                report = with_pictures(report, record.finished, study.store)
            plot = None if flags.plot and _has_drawn(record, study.store, flags) else flags.plot
            pages.write_files(report, plot, flags.report, quiet=flags.quiet)
            pages.write_logs(report, flags.log, quiet=flags.quiet)
    if interrupted:
        raise stopped(study)
    _say_unscored(record)
    if not record.finished:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")


def _say_unscored(record: StudyRecord) -> None:
    """Say it where no run has a score, though each was computed: the exit code alone does not tell."""
    from relubench.reports.formatting import count

    finished = record.finished
    if not finished or any(result.test_score is not None for result in finished):
        return
    outcomes = {outcome: sum(result.outcome == outcome for result in finished) for outcome in ("diverged", "stalled")}
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items() if number)
    output.say(f"warning: none of {count(len(finished), 'run')} has a test score: {numbers}; try a smaller --lr")


@contextlib.contextmanager
def preparing() -> Iterator[None]:
    """Inside, where a study is opened, an interruption says how to go on; raises typer.Exit(130) for it."""
    try:
        yield
    except BaseException as error:
        # A library may have turned it into an error of its own.
        if not (isinstance(error, KeyboardInterrupt) or interrupts.stop_requested()):
            raise
        output.say("interrupted while the runs were prepared; the same command goes on from here")
        raise typer.Exit(EXIT_INTERRUPTED) from error


def stopped(study: Study) -> typer.Exit:
    """What an interrupted study raises, once it is said how to go on."""
    command = "the same command without --no-cache" if study.fresh else "the same command"
    finished = sum(result.outcome != "failed" for result in study.results)
    output.say(f"interrupted: {finished} of {study.total} runs are finished; {command} goes on from here")
    return typer.Exit(EXIT_INTERRUPTED)


def quietly(text: str) -> None:
    """Say a note under --quiet: only a warning, or that another process is waited for."""
    if progress.is_urgent(text):
        output.say(text)


def _has_drawn(record: StudyRecord, store: Store, flags: StudyFlags) -> bool:
    """Whether the networks fitted pictures, which are drawn then: --plot shows them in place of a figure."""
    from relubench.reports.plots.fitted_pictures import has_fits, plot_pictures

    if flags.plot is None or not has_fits(record.finished, store):
        return False
    plot_pictures(record.finished, store, flags.plot)
    if not flags.quiet:
        output.say(f"written: {flags.plot}")
    return True


def carry_out(study: Study, quiet: bool, logs: Sequence[str] | None = None) -> bool:
    """Run the study to its end, with its curves in `logs` meanwhile; returns whether it was interrupted."""
    return show_events(cast("Generator[Event]", study.run()), display_of(study, quiet, logs))


def display_of(study: Study, quiet: bool, logs: Sequence[str] | None = None) -> progress.Display:
    """The display of a study's progress, which writes the `logs`, too."""
    elsewhere = study.config.executor.is_elsewhere
    display = progress.choose(study.total, study.typical_epochs, quiet=quiet, elsewhere=elsewhere)
    if not logs:
        return display
    from relubench.cli.live_logs import LiveLogs

    return LiveLogs(display, study, logs)


def show_events(events: Generator[Event], display: progress.Display) -> bool:
    """Show events as they come; returns whether they were interrupted."""
    # A generator: closing it stops the workers.
    try:
        with contextlib.closing(events):
            for event in events:
                display.show(event)
    except KeyboardInterrupt:
        return True
    finally:
        display.close()
    return False
