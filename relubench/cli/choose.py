"""`relubench choose`: which activation to take, within a budget."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import completion, options, output, pages
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS
from relubench.cli.study import display_of, preparing, quietly, show_events
from relubench.errors import EXIT_INTERRUPTED, ComputeError

if TYPE_CHECKING:
    from relubench.experiments.choosing.choice import Choice, ChoiceRequest
    from relubench.experiments.events import Event
    from relubench.experiments.plan import Variant
    from relubench.experiments.study import Study

ACT = replace(
    FLAGS["act"],
    help="An activation to choose from; give it several times, or names split at commas, as in `relubench train`. "
    "Training times are compared with the first one's.",
    default="sigmoid, tanh, relu, gelu",
)
RATE = replace(
    FLAGS["train.lr"],
    help="The learning rate; auto searches it for each activation by validation error, from the middle of the grid "
    "outwards, on a seed that decides nothing else.",
    default="auto",
)
OFFERED = offer(
    *(ACT, "--dataset", "--model", "--budget", "--want", "--within", "--seeds"),
    *("model.keep_act", "model.init", "model.norm", "model.dropout", "data.augment"),
    *("train.protocol", "train.optimizer", RATE, "train.momentum", "train.weight_decay", "train.batch_size"),
    *("train.epochs", "train.schedule", "train.patience", "train.precision", "device", "--set", "--data-dir"),
    *("--runs-dir", "keep"),
)
"""The fields of the configuration that have a flag, in the order of the help."""

Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        autocompletion=completion.datasets,
        rich_help_panel=options.NETWORK,
        help="The data set: a name of `relubench list datasets`, a .npz file or a folder of images; several share the "
        "budget, and one ranking is made of all. Default: digits.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        autocompletion=completion.models,
        rich_help_panel=options.NETWORK,
        help="The network, as in `relubench train`; several are tried on each data set. Default: the data set's own.",
    ),
]
BudgetText = Annotated[
    str,
    typer.Option(
        "--budget",
        metavar="20m|40runs",
        rich_help_panel=options.TRAINING,
        help="What the choice may spend: a time (90s, 20m, 2h) or a number of runs. The same command again goes on "
        "with what is stored.",
    ),
]
Want = Annotated[
    str,
    typer.Option(
        "--want",
        metavar="error|time|memory",
        rich_help_panel=options.TRAINING,
        help="What decides among those that are as good as the best: the score, the training time or the memory.",
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        "--within",
        metavar="POINTS",
        rich_help_panel=options.TRAINING,
        help="Take the cheapest activation that is not worse than the best by more than this. Default: no difference.",
    ),
]
SeedsRange = Annotated[
    str,
    typer.Option(
        "--seeds",
        metavar="LEAST..MOST",
        rich_help_panel=options.TRAINING,
        help="The seeds of the first look and of the last.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceFlags:
    """The flags of `choose` that set no field of the configuration."""

    dataset: Datasets = None
    model: Models = None
    budget: BudgetText = "20m"
    want: Want = "error"
    within: Within = None
    seeds: SeedsRange = "3..20"
    data_dir: options.DataDir = None
    runs_dir: options.RunsDir = None
    format: options.Format = None
    output_file: options.OutputFile = None
    plot: options.Plot = None
    report: options.ReportFile = None
    quiet: options.Quiet = False

    def note(self, text: str) -> None:
        """Say a line on stderr; with --quiet only what is urgent."""
        (quietly if self.quiet else output.say)(text)


def choose(config: Annotated[ConfigFlags, OFFERED], flags: ChoiceFlags) -> None:
    """Choose an activation within a budget: the answer, what cannot be told apart from it, and what each one costs.

    Seeds go where they decide: activations that are worse on the validation data are eliminated at planned looks, all
    under one error rate, and those that are left are compared on the test set with fresh seeds. It stops early when the
    answer is settled; Ctrl-C gives the answer so far, and the same command goes on.
    """
    target = output.choose(flags.format, flags.output_file)
    output.check_plot(flags.plot)
    pages.check_page(flags.report)
    request = _request(config, flags)
    output.check_stdout(target)
    choice = _open(request, flags)
    choice.run()
    from relubench.reports.choosing.report import choice_report

    if choice.answers:
        report = pages.finished(choice_report(choice))
        output.emit_report(report, target, quiet=flags.quiet)
        pages.write_files(report, flags.plot, flags.report, quiet=flags.quiet)
    if choice.interrupted:
        output.say(f"interrupted: {_what_holds(choice)}; the same command goes on from here")
        raise typer.Exit(EXIT_INTERRUPTED)
    if not any(row.valid_metric is not None for answer in choice.answers for row in answer.rows):
        raise ComputeError("no activation has a score yet", "give a larger --budget, or see the warnings above")


def _what_holds(choice: Choice) -> str:
    begun, total = len(choice.answers), len(choice.plans)
    if not begun:
        return "nothing was trained yet"
    return "the answer above holds" + (f", {total - begun} of {total} are not begun" if begun < total else "")


def _request(config: ConfigFlags, flags: ChoiceFlags) -> ChoiceRequest:
    from relubench.experiments.choosing.budget import parse_budget
    from relubench.experiments.choosing.request import choice_request

    defaults = {"train": {"lr": "auto"}}
    return choice_request(
        config.experiment(defaults),
        datasets=_names(flags.dataset),
        models=_names(flags.model),
        budget=parse_budget(flags.budget),
        want=flags.want,
        within=flags.within,
        seeds=flags.seeds,
    )


def _names(texts: list[str] | None) -> list[str]:
    """The names that a flag was given, several times or split at commas."""
    return list(dict.fromkeys(name.strip() for text in texts or () for name in text.split(",") if name.strip()))


def _open(request: ChoiceRequest, flags: ChoiceFlags) -> Choice:
    from relubench.experiments.choosing.choice import Choice
    from relubench.experiments.study import Study

    note = output.once(flags.note)

    def open_study(variants: Sequence[Variant]) -> Study:
        return Study.open(variants, data_dir=flags.data_dir, runs_dir=flags.runs_dir, note=note)

    def watch(study: Study, events: Generator[Event]) -> bool:
        return show_events(events, display_of(study, flags.quiet))

    with preparing():
        choice = Choice.open(request, open_study, watch)
    for plan in choice.plans:
        flags.note(plan.describe())
    return choice
