"""`relubench run PRESET`: a whole experiment out of one YAML file, in one table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import completion, options, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS, methods_of
from relubench.cli.study import StudyFlags, show_study
from relubench.errors import UsageError
from relubench.system.output_files import check_file

if TYPE_CHECKING:
    from relubench.experiments.presets.resolve import Preset

PresetName = Annotated[
    str | None,
    typer.Argument(
        metavar="PRESET",
        autocompletion=completion.presets,
        help="A name of `relubench list presets`, or a YAML file of your own.",
    ),
]
ScaleName = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="smoke|quick|paper",
        autocompletion=completion.scales,
        rich_help_panel=options.TRAINING,
        help="How much of it: smoke is offline and takes under a minute, quick is a short look at the real data, paper "
        "is the whole experiment. Default: quick.",
    ),
]
SubsetOfActs = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=completion.acts,
        rich_help_panel=options.NETWORK,
        help="Only these activations of the preset. Default: all of them.",
    ),
]
SubsetOfMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="none|rbm|dae",
        rich_help_panel=options.TRAINING,
        help="Only these of the preset's ways of pre-training, split at commas. Default: all of them.",
    ),
]
PRESET_SEEDS = replace(
    FLAGS["seeds"], help="Train each network N times, with the seeds 0 to N-1.", default="as the preset says"
)
OFFERED = offer(
    *("--scale", "--act", "--method", PRESET_SEEDS, "device", "executor.name", "executor.address"),
    *("--set", "--data-dir", "--runs-dir", "--no-cache", "--print", "--dry-run"),
)
"""The fields of the configuration that have a flag, in the order of the help."""

Print = Annotated[
    bool,
    typer.Option(
        "--print",
        rich_help_panel=options.RESULT,
        help="Print the preset at this scale as a YAML file that `relubench run` accepts, and train nothing.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        rich_help_panel=options.RESULT,
        help="Print the price (runs, hours on this machine, disk), and train nothing.",
    ),
]


def run(
    config: Annotated[ConfigFlags, OFFERED],
    flags: StudyFlags,
    preset: PresetName = None,
    scale: ScaleName = None,
    act: SubsetOfActs = None,
    method: SubsetOfMethods = None,
    print_: Print = False,
    dry_run: DryRun = False,
) -> None:
    """Run a preset: a whole experiment, in one table beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    if preset is None:
        raise UsageError("run needs a preset", "`relubench list presets` shows them")
    if print_ and dry_run:
        raise UsageError("--print and --dry-run exclude each other", "give one of them")
    target = _yaml_target(flags) if print_ else flags.target()
    from relubench.experiments.presets.catalogue import open_preset

    chosen = open_preset(preset, scale, config.layers(), act or (), methods_of(method or ()))
    if print_:
        from relubench.experiments.presets.export import as_yaml

        output.emit(as_yaml(chosen), target)
    elif dry_run:
        _show_cost(chosen, target, flags)
    else:
        if chosen.stand_in:
            flags.note(f"{chosen.name} at scale {chosen.scale}: {chosen.stand_in}")
        from relubench.reports.training.preset import preset_report

        show_study(flags.open(chosen.variants), partial(preset_report, preset=chosen), target, flags)


def _yaml_target(flags: StudyFlags) -> output.Target:
    """--print writes YAML, whatever the suffix; a format would be ignored."""
    if flags.format is not None:
        raise UsageError("--format means nothing to --print, which writes YAML", "leave --format out")
    if flags.plot is not None:
        raise UsageError("--plot means nothing to --print, which trains nothing", "leave --plot out")
    if flags.output_file is not None:
        check_file("--output", flags.output_file)
    return output.Target(format="tsv", path=flags.output_file)


def _show_cost(preset: Preset, target: output.Target, flags: StudyFlags) -> None:
    """Print how many runs there would be, how long they would take and how much they would store."""
    from relubench.data import lines_about
    from relubench.experiments.cost import price
    from relubench.reports.cost import cost_report

    cost = price(preset.variants, data_dir=flags.data_dir, runs_dir=flags.runs_dir, fresh=flags.no_cache)
    for line in lines_about(prepared for prepared in cost.sets if prepared.digest):
        flags.note(line)
    report = cost_report(cost, f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}")
    output.emit_report(report, target)
    if not target.human_readable:
        output.say(report.title)
