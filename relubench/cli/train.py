"""`relubench train`: train networks that differ in nothing but the activation, and say whether they differ."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from relubench.cli import options, output, progress
from relubench.cli.overrides import experiment
from relubench.errors import EXIT_INTERRUPTED, ComputeError
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.reports.report import Report
    from relubench.results import Event
    from relubench.runner import Study

Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        rich_help_panel=options.RESULT,
        help="Draw the learning curves into this file (.png, .pdf or .svg). Default: no plot.",
    ),
]


def train(
    ctx: typer.Context,
    act: options.Act = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    init: options.Init = None,
    norm: options.Norm = None,
    dropout: options.Dropout = None,
    sign_flip: options.SignFlip = None,
    match: options.Match = None,
    augment: options.Augment = None,
    protocol: options.Protocol = None,
    optimizer: options.Optimizer = None,
    lr: options.LearningRate = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    schedule: options.Schedule = None,
    patience: options.Patience = None,
    precision: options.Precision = None,
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    device: options.Device = None,
    assignments: options.Set = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    keep: options.Keep = None,
    no_cache: options.NoCache = False,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    plot: Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Train networks that differ only in the activation, and compare their test errors beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    target = output.choose(format, output_file)
    output.check_plot(plot)
    config = experiment(ctx.params)
    from relubench.runner import Study

    study = Study.open(
        config, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=_silent if quiet else output.say
    )
    interrupted = _carry_out(study, quiet)
    finished = sum(result.outcome != "failed" for result in study.results)
    if study.results:
        report = _report(study)
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


def _carry_out(study: Study, quiet: bool) -> bool:
    """Run the study to its end under the eyes of the user; returns whether it was interrupted."""
    display = progress.choose(study.total, study.config.train.epochs, quiet=quiet)
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


def _report(study: Study) -> Report:
    """The table of what is finished or failed so far."""
    from relubench.reports.report import run_records, training_report
    from relubench.reports.summary import summarize

    timings = study.timings
    summary = summarize(study.results, timings, study.wrong, study.tuned)
    runs = run_records(study.results, timings, study.wrong)
    return training_report(summary, version=__version__, device=study.device.name, runs=runs)


def _plot(study: Study, plot: Path) -> None:
    from relubench.reports.plots import plot_curves

    plot_curves(study.results, study.timings, plot, list(study.tuned.values()))


def _silent(text: str) -> None:
    """--quiet: notes go nowhere."""
