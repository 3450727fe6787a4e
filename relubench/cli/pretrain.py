"""`relubench pretrain`: does unsupervised pre-training still pay, and for which activation?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output
from relubench.cli.flags import experiment
from relubench.cli.study import preparing, quietly, show_study
from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.study import Study
    from relubench.reports.report import Report

PRETRAINING = "Pre-training"

Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="none|rbm|dae",
        rich_help_panel=PRETRAINING,
        help="How the hidden layers are pre-trained, split at commas: none, rbm (restricted Boltzmann machines), dae "
        "(denoising autoencoders). The first one is what the others are compared with. Default: none,rbm.",
    ),
]
PretrainEpochs = Annotated[
    str | None,
    typer.Option(
        "--pretrain-epochs",
        metavar="N",
        rich_help_panel=PRETRAINING,
        help="The passes over the images for each layer. Default: 10.",
    ),
]
PretrainLearningRate = Annotated[
    str | None,
    typer.Option(
        "--pretrain-lr",
        metavar="X|auto",
        rich_help_panel=PRETRAINING,
        help="The learning rate of pre-training; auto chooses it for each layer by reconstruction error, on a seed "
        "that is not reported. Default: auto.",
    ),
]
Control = Annotated[
    bool | None,
    typer.Option(
        "--control",
        rich_help_panel=PRETRAINING,
        help="Add rows that start from the pre-trained weights shuffled within each layer. Default: off.",
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE",
        callback=options.expanded,
        rich_help_panel=PRETRAINING,
        help="Write the pre-trained stack to this file (.safetensors); for one activation, method and seed. Default: "
        "none is written.",
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        callback=options.expanded,
        rich_help_panel=PRETRAINING,
        help="Fine-tune from the stack in this file, which --export wrote, beside the same network without. Default: "
        "the stack is trained.",
    ),
]


def pretrain(
    ctx: typer.Context,
    act: options.Act = None,
    method: Method = None,
    pretrain_epochs: PretrainEpochs = None,
    pretrain_lr: PretrainLearningRate = None,
    control: Control = None,
    export: Export = None,
    source: From = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    init: options.Init = None,
    dropout: options.Dropout = None,
    sign_flip: options.SignFlip = None,
    match: options.Match = None,
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
    plot: options.Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Train networks with and without unsupervised pre-training, and say what it gains and what it costs.

    Layers are pre-trained one after the other, then the whole network is fine-tuned. A pre-trained stack is stored, and
    serves every fine-tuning that starts from it.
    """
    target = output.choose(format, output_file)
    output.check_plot(plot)
    config = experiment(ctx.params, defaults=_defaults(source, method))
    _check_export(export, config)
    from relubench.experiments.study import Study

    with preparing():
        study = Study.open(
            config, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=quietly if quiet else output.say
        )
    if export is not None and (choices := sum(len(part.choices) for part in study.parts)) != 1:
        raise UsageError(f"--export writes one stack: this asks for {choices} activations", "name one with --act")
    show_study(study, lambda: _report(study), target, plot, quiet=quiet)
    if export is not None:
        _export(study, export)


def _defaults(source: Path | None, method: list[str] | None) -> dict[str, Any]:
    """What the command has for a default where `train` pre-trains nothing."""
    from relubench.experiments.pretraining_plan import PRETRAIN_DEFAULTS

    if source is None:
        if "file" in ",".join(method or []).split(","):
            raise UsageError("--method file starts from a stack, and none is given", "name its file with --from FILE")
        return PRETRAIN_DEFAULTS
    if method:
        raise UsageError(
            f"--from {source} and --method {','.join(method)} exclude each other",
            "--from fine-tunes from a finished stack, and compares it with none",
        )
    return PRETRAIN_DEFAULTS | {"pretrain": {"methods": ("none", "file"), "source": str(source.absolute())}}


def _check_export(export: Path | None, config: ExperimentConfig) -> None:
    """Raises UsageError where there would not be one stack to write, or nowhere to write it."""
    if export is None:
        return
    output.check_file("--export", export)
    methods = [one for one in config.pretrain.methods if one != "none"]
    if len(methods) != 1 or len(config.seeds) != 1:
        raise UsageError(
            f"--export writes one stack: this asks for {len(methods)} methods and {len(config.seeds)} seeds",
            "name one, for example --method none,rbm --seed 0",
        )


def _report(study: Study) -> Report:
    """The table of what is finished or failed so far."""
    from relubench.reports.training.pretraining import pretraining_report

    return pretraining_report(study)


def _export(study: Study, path: Path) -> None:
    from relubench.training.pretraining.layers import export_layers

    (pretrained,) = (spec for spec in study.specs if spec.stack is not None and not spec.stack.shuffled)
    output.save_file("--export", path, export_layers(pretrained, study.store))
    output.say(f"written: {path}")
