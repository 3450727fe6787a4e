"""`relubench ablate-sparsity`: how sparse may a network be before its error rises? L1 strengths, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output
from relubench.cli.flags import experiment, whole_number
from relubench.cli.study import carry_out, preparing, quietly, show_study
from relubench.errors import EXIT_INTERRUPTED, UsageError
from relubench.system.lookup import find

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.study import Study
    from relubench.reports.report import Report

SCALES = ("sum", "mean", "paper")
MAX_NETS = 10_000

Strengths = Annotated[
    str | None,
    typer.Option(
        "--l1",
        metavar="X,X,...",
        rich_help_panel=options.TRAINING,
        help="The strengths of the L1 penalty on the activations, split at commas. Default: 0,0.001,0.01,0.1,1.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--l1-scale",
        metavar="sum|mean|paper",
        rich_help_panel=options.TRAINING,
        help="What a strength multiplies, averaged over the batch: the sum of |h| over a layer's units, its mean, or a "
        "thirtieth of the sum, at which the paper's 0.001 gives its share of zeros. Default: mean.",
    ),
]
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


def ablate_sparsity(
    ctx: typer.Context,
    act: options.Act = None,
    l1: Strengths = None,
    l1_scale: Scale = None,
    nets: Nets = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    init: options.Init = None,
    norm: options.Norm = None,
    sign_flip: options.SignFlip = None,
    protocol: options.Protocol = None,
    optimizer: options.Optimizer = None,
    lr: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    patience: options.Patience = None,
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    device: options.Device = None,
    probe: options.Probe = None,
    assignments: options.Set = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    keep: options.Keep = None,
    no_cache: options.NoCache = False,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            callback=options.expanded,
            rich_help_panel=options.RESULT,
            help="Draw sparsity against error into this file (.png, .pdf or .svg), for mlp-3x1000 on MNIST over the "
            "paper's Figure 3. Default: no plot.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train networks under L1 penalties on their activations: zeros, dead units and error at each strength.

    Without --act it is relu. For mlp-3x1000 on MNIST the article's numbers stand beside its own strengths.
    """
    target = output.choose(format, output_file)
    output.check_plot(plot)
    settings: dict[str, Any] = {"train": {}}
    if l1_scale is not None:
        find(l1_scale, dict.fromkeys(SCALES), kind="scale", see=f"--l1-scale is one of {', '.join(SCALES)}")
        settings["train"]["l1_scale"] = l1_scale
    if l1 is not None:
        settings["train"]["l1"] = _strengths(l1)
    number = None if nets is None else _nets(nets, ctx.params)
    from relubench.experiments.l1_range import ABLATION_DEFAULTS, check_layers

    config = experiment(ctx.params, defaults=ABLATION_DEFAULTS, settings=settings)
    check_layers(config)
    where: dict[str, Any] = {"data_dir": data_dir, "runs_dir": runs_dir, "fresh": no_cache}
    # The short runs that find the range use the same data: what is said of them is said once.
    where["note"] = output.once(quietly if quiet else output.say)
    from relubench.experiments.study import Study

    if number is not None:
        output.check_stdout(target)
        config = _sampled(config, number, where, quiet)
    with preparing():
        study = Study.open(config, **where)
    show_study(study, lambda: _report(study), target, plot, quiet=quiet, draw=_draw)


def _strengths(text: str) -> tuple[float, ...]:
    """The numbers of --l1, smallest first, each once."""
    from relubench.experiments.config import check_strength

    return tuple(sorted({check_strength("--l1", part.strip()) for part in text.split(",")}))


def _nets(text: str, given: dict[str, Any]) -> int:
    for option, value in (("--l1", given["l1"]), ("--seeds", given["seeds"]), ("--seed", given["seed"])):
        if value is not None:
            hint = "--nets draws a strength for each of its own seeds; leave one of the two out"
            raise UsageError(f"--nets {text} and {option} {value} exclude each other", hint)
    return whole_number("--nets", text, 1, MAX_NETS)


def _sampled(config: ExperimentConfig, nets: int, where: dict[str, Any], quiet: bool) -> ExperimentConfig:
    """The configuration of `nets` networks whose strengths span the range that short runs find."""
    from relubench.experiments.l1_range import RangeSearch

    search = RangeSearch(config, where["note"])
    studies = search.studies(data_dir=where["data_dir"], runs_dir=where["runs_dir"], fresh=where["fresh"])
    while True:
        with preparing():
            study = next(studies, None)
        if study is None:
            return search.sampled(nets)
        if carry_out(study, quiet):
            output.say("interrupted in the short runs that find the range; the same command goes on from here")
            raise typer.Exit(EXIT_INTERRUPTED)


def _report(study: Study) -> Report:
    from relubench.reports.training.sparsity import sparsity_report

    return sparsity_report(study)


def _draw(study: Study, plot: Path) -> None:
    from relubench.reports.plots.sparsity import plot_sparsity
    from relubench.reports.training.sparsity import without_trend

    plot_sparsity(study.results, plot, without_trend(study))
