"""`relubench pretrain`: does unsupervised pre-training still pay, and for which activation?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import SEED
from relubench.cli.study import StudyFlags, show_study
from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.study import Study
    from relubench.reports.report import Report

OFFERED = offer(
    *("act", "pretrain.methods", "pretrain.epochs", "pretrain.lr", "pretrain.control"),
    *("data.name", "model.name", "model.init", "model.dropout", "model.sign_flip", "model.match"),
    *("train.protocol", "train.optimizer", "train.lr", "train.momentum", "train.weight_decay", "train.batch_size"),
    *("train.epochs", "train.schedule", "train.patience", "train.precision"),
    *("seeds", SEED, "device", "--set", "--data-dir", "--runs-dir", "keep"),
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
    experiment = config.experiment(defaults=_defaults(source, config.text("--method")))
    _check_export(export, experiment)
    study = flags.open(experiment)
    if export is not None and (num_choices := sum(len(part.choices) for part in study.parts)) != 1:
        raise UsageError(f"--export writes one stack: this asks for {num_choices} activations", "name one with --act")
    show_study(study, _report, target, flags)
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
    methods = [method for method in config.pretrain.methods if method != "none"]
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
