"""`relubench train`: train networks that differ in nothing but the activation, and say whether they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS, SEED, first_seeds
from relubench.cli.looks import show_looks
from relubench.cli.study import StudyFlags, show_study


def _seeds(option: str, text: str) -> tuple[int, ...]:
    """The seeds 0 to N-1, or up to the last look."""
    from relubench.experiments.choosing.seeds import looks_of

    looks = looks_of(text)
    return first_seeds(option, text) if looks is None else tuple(range(looks[-1]))


SEEDS = replace(
    FLAGS["seeds"],
    values="N|A..B|until-settled",
    help="Train each network N times, with the seeds 0 to N-1; an interval needs 2 or more. 3..50 adds seeds from 3 on "
    "until every difference is settled, at most 50, all looks under one error rate; until-settled is that.",
    read=_seeds,
)
OFFERED = offer(
    *("act", "act_by_layer", "data.name", "data.target", "data.context"),
    *("model.name", "model.heads", "model.ffn", "model.keep_act", "model.init"),
    *("model.norm", "model.dropout", "model.sign_flip", "model.match", "model.latent", "model.act_in"),
    *("model.output_act", "data.augment"),
    *("train.protocol", "train.optimizer", "train.lr", "train.momentum", "train.weight_decay", "train.batch_size"),
    *("train.epochs", "train.schedule", "train.patience", "train.precision", "train.probe"),
    *(SEEDS, SEED, "device", "executor.name", "executor.address", "--set", "--data-dir", "--runs-dir", "keep"),
)
"""The fields of the configuration that have a flag, in the order of the help."""


def _looks(config: ConfigFlags) -> tuple[int, ...] | None:
    """The looks that --seeds asks for; None where it is a number."""
    text = config.text("--seeds")
    if text is None:
        return None
    from relubench.experiments.choosing.seeds import looks_of

    return looks_of(text)


def train(config: Annotated[ConfigFlags, OFFERED], flags: StudyFlags) -> None:
    """Train networks that differ only in the activation, and compare their test errors beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    target = flags.target()
    if looks := _looks(config):
        show_looks(config.experiment(), looks, target, flags)
        return
    study = flags.open(config.experiment())
    from relubench.reports.training.study import study_report

    show_study(study, study_report, target, flags)
