"""`relubench ablate-sparsity`: how sparse may a network be before its error rises? L1 strengths, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import options, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import SEED
from relubench.cli.flags import whole_number
from relubench.cli.study import StudyFlags, carry_out, preparing, show_study
from relubench.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig

MAX_NETS = 10_000

OFFERED = offer(
    *("act", "train.l1", "train.l1_scale", "--nets"),
    *("data.name", "data.target", "model.name", "model.init", "model.norm", "model.sign_flip"),
    *("train.protocol", "train.optimizer", "train.lr", "train.batch_size", "train.epochs", "train.patience"),
    *("seeds", SEED, "device", "train.probe", "executor.name", "executor.address"),
    *("--set", "--data-dir", "--runs-dir", "keep"),
)
"""The fields of the configuration that have a flag, in the order of the help."""

Nets = Annotated[
    str | None,
    typer.Option(
        "--nets",
        metavar="N",
        rich_help_panel=options.TRAINING,
        help="Train N networks, each with a seed and a strength of its own: one in ten at 0, the others drawn over the "
        "range in which zeros go from about 70 to 99 %, found on eight short runs. Default: the strengths of --l1.",
    ),
]
SparsityPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        callback=options.expanded,
        rich_help_panel=options.RESULT,
        help="Draw zeros by penalty and error by zeros into this file (.png, .pdf or .svg), for mlp-3x1000 "
        "on MNIST over the paper's Figure 3. Default: no plot.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationFlags(StudyFlags):
    """The flags of a study whose plot is another one."""

    plot: SparsityPlot = None


def ablate_sparsity(config: Annotated[ConfigFlags, OFFERED], flags: AblationFlags, nets: Nets = None) -> None:
    """Train networks under L1 penalties on their activations: zeros, dead units and error at each strength.

    Without --act it is relu. For mlp-3x1000 on MNIST the article's numbers stand beside its own strengths.
    """
    target = flags.target()
    num_nets = None if nets is None else _num_nets(nets, config)
    from relubench.experiments.l1_range import ABLATION_DEFAULTS, check_layers
    from relubench.reports.training.sparsity import sparsity_report

    experiment = config.experiment(ABLATION_DEFAULTS)
    check_layers(experiment)
    # The short runs that find the range use the same data: what is said of them is said once.
    note = output.once(flags.note)
    if num_nets is not None:
        output.check_stdout(target)
        experiment = _with_drawn_strengths(experiment, num_nets, flags, note)
    show_study(flags.open(experiment, note), sparsity_report, target, flags)


def _num_nets(text: str, config: ConfigFlags) -> int:
    """The number of --nets; raises UsageError for a flag whose place it takes."""
    for option in ("--l1", "--seeds", "--seed"):
        if (value := config.text(option)) is not None:
            hint = "--nets draws a strength for each of its own seeds; leave one of the two out"
            raise UsageError(f"--nets {text} and {option} {value} exclude each other", hint)
    return whole_number("--nets", text, 1, MAX_NETS)


def _with_drawn_strengths(
    config: ExperimentConfig, num_nets: int, flags: StudyFlags, note: Callable[[str], None]
) -> ExperimentConfig:
    """The configuration of so many networks, whose strengths span the range that short runs find."""
    from relubench.experiments.l1_range import RangeSearch

    search = RangeSearch(config, note)
    studies = search.studies(data_dir=flags.data_dir, runs_dir=flags.runs_dir, fresh=flags.no_cache)
    while True:
        with preparing():
            study = next(studies, None)
        if study is None:
            return search.sampled(num_nets)
        if carry_out(study, flags.quiet):
            output.say("interrupted in the short runs that find the range; the same command goes on from here")
            raise typer.Exit(EXIT_INTERRUPTED)
