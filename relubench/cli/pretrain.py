"""`relubench pretrain`: does unsupervised pre-training still pay, and for which activation?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import SEED
from relubench.cli.study import StudyFlags, show_study

OFFERED = offer(
    *("act", "pretrain.methods", "pretrain.epochs", "pretrain.lr", "pretrain.control"),
    *("data.name", "data.target", "model.name", "model.init", "model.dropout", "model.sign_flip", "model.match"),
    *("train.protocol", "train.optimizer", "train.lr", "train.momentum", "train.weight_decay", "train.batch_size"),
    *("train.epochs", "train.schedule", "train.patience", "train.precision"),
    *("seeds", SEED, "device", "executor.name", "executor.address", "--set", "--data-dir", "--runs-dir", "keep"),
)
"""The fields of the configuration that have a flag, in the order of the help."""

Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE",
        callback=options.expanded,
        rich_help_panel=options.PRETRAINING,
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
        rich_help_panel=options.PRETRAINING,
        help="Fine-tune from the stack in this file, which --export wrote, beside the same network without. Default: "
        "the stack is trained.",
    ),
]


def pretrain(
    config: Annotated[ConfigFlags, OFFERED], flags: StudyFlags, export: Export = None, source: From = None
) -> None:
    """Train networks with and without unsupervised pre-training, and say what it gains and what it costs.

    Layers are pre-trained one after the other, then the whole network is fine-tuned. A pre-trained stack is stored, and
    serves every fine-tuning that starts from it.
    """
    target = flags.target()
    from relubench.experiments.pretraining_files import check_export, export_stack, pretraining_defaults
    from relubench.reports.training.pretraining import pretraining_report

    methods = [name for text in config.text("--method") or () for name in text.split(",")]
    experiment = config.experiment(defaults=pretraining_defaults(source, methods))
    if export is not None:
        check_export(export, experiment)
    study = flags.open(experiment)
    show_study(study, pretraining_report, target, flags)
    if export is not None:
        export_stack(study, export)
        output.say(f"written: {export}")
