"""`relubench train`: train networks that differ in nothing but the activation, and say whether they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import options, output
from relubench.cli.overrides import experiment
from relubench.cli.study import note_to, present, stored_runs
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.reports.report import Report
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

    study = Study.open(config, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=note_to(quiet))
    present(study, _report, target, plot=plot, quiet=quiet, epochs=study.config.train.epochs)


def _report(study: Study) -> Report:
    """The table of what is finished or failed so far."""
    from relubench.reports.report import training_report
    from relubench.reports.summary import summarize

    summary = summarize(study.results, study.timings, study.wrong)
    return training_report(summary, version=__version__, device=study.device.name, runs=stored_runs(study))
