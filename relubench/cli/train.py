"""`relubench train`: train networks that differ in nothing but the activation, and say whether they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from relubench.cli import options, output
from relubench.cli.flags import experiment
from relubench.cli.study import preparing, quietly, show_study

if TYPE_CHECKING:
    from relubench.experiments.study import Study
    from relubench.reports.report import Report


def train(
    ctx: typer.Context,
    act: options.Act = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    keep_act: options.KeepAct = None,
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
    probe: options.Probe = None,
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
    plot: options.Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Train networks that differ only in the activation, and compare their test errors beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    target = output.choose(format, output_file)
    output.check_plot(plot)
    config = experiment(ctx.params)
    from relubench.experiments.study import Study

    with preparing():
        study = Study.open(
            config, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=quietly if quiet else output.say
        )
    show_study(study, lambda: _report(study), target, plot, quiet=quiet)


def _report(study: Study) -> Report:
    from relubench.reports.training.study import study_report

    return study_report(study)
