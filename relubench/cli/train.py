"""`relubench train`: train networks that differ in nothing but the activation, and say whether they differ."""

from __future__ import annotations

from typing import Annotated

from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import SEED
from relubench.cli.study import StudyFlags, show_study

OFFERED = offer(
    *("act", "data.name", "data.target", "data.context", "model.name", "model.heads", "model.keep_act", "model.init"),
    *("model.norm", "model.dropout", "model.sign_flip", "model.match", "model.latent", "model.act_in"),
    *("model.output_act", "data.augment"),
    *("train.protocol", "train.optimizer", "train.lr", "train.momentum", "train.weight_decay", "train.batch_size"),
    *("train.epochs", "train.schedule", "train.patience", "train.precision", "train.probe"),
    *("seeds", SEED, "device", "--set", "--data-dir", "--runs-dir", "keep"),
)
"""The fields of the configuration that have a flag, in the order of the help."""


def train(config: Annotated[ConfigFlags, OFFERED], flags: StudyFlags) -> None:
    """Train networks that differ only in the activation, and compare their test errors beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    target = flags.target()
    study = flags.open(config.experiment())
    from relubench.reports.training.study import study_report

    show_study(study, study_report, target, flags)
