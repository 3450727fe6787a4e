"""`relubench run PRESET`: a whole experiment out of one YAML file, in one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import completion, options, output
from relubench.cli.flags import layers, methods_of
from relubench.cli.study import preparing, quietly, show_study
from relubench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relubench.experiments.presets.resolve import Preset
    from relubench.experiments.study import Study
    from relubench.reports.report import Report

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
PresetSeeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N",
        rich_help_panel=options.TRAINING,
        help="Train each network N times, with the seeds 0 to N-1. Default: as the preset says.",
    ),
]
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
    ctx: typer.Context,
    preset: PresetName = None,
    scale: ScaleName = None,
    act: SubsetOfActs = None,
    method: SubsetOfMethods = None,
    seeds: PresetSeeds = None,
    device: options.Device = None,
    assignments: options.Set = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    no_cache: options.NoCache = False,
    print_: Print = False,
    dry_run: DryRun = False,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    plot: options.Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Run a preset: a whole experiment, in one table beside the published numbers.

    A run that is stored already is not trained again, and an interrupted one goes on where it stopped.
    """
    if preset is None:
        raise UsageError("run needs a preset", "`relubench list presets` shows them")
    if print_ and dry_run:
        raise UsageError("--print and --dry-run exclude each other", "give one of them")
    target = output.choose(format, output_file) if not print_ else _yaml_target(ctx, output_file)
    output.check_plot(plot)
    asked = _open(ctx, preset)
    note = quietly if quiet else output.say
    if print_:
        from relubench.experiments.presets.export import as_yaml

        output.emit(as_yaml(asked), target)
        return
    if dry_run:
        _price(asked, target, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=note)
        return
    from relubench.experiments.study import Study

    if asked.stand_in:
        note(f"{asked.name} at scale {asked.scale}: {asked.stand_in}")
    with preparing():
        study = Study.open(asked.variants, data_dir=data_dir, runs_dir=runs_dir, fresh=no_cache, note=note)
    show_study(study, lambda: _report(study, asked), target, plot, quiet=quiet)


def _open(ctx: typer.Context, preset: str) -> Preset:
    """The preset with the flags on top; --act and --method choose among what it has."""
    from relubench.experiments.presets.catalogue import open_preset

    given: dict[str, Any] = {**ctx.params, "act": None, "method": None}
    methods = methods_of(ctx.params.get("method") or ())
    return open_preset(preset, ctx.params.get("scale"), layers(given), ctx.params.get("act") or (), methods)


def _yaml_target(ctx: typer.Context, path: Path | None) -> output.Target:
    """--print writes YAML, whatever the suffix; a format would be ignored."""
    if ctx.params.get("format") is not None:
        raise UsageError("--format means nothing to --print, which writes YAML", "leave --format out")
    if ctx.params.get("plot") is not None:
        raise UsageError("--plot means nothing to --print, which trains nothing", "leave --plot out")
    if path is not None:
        output.check_file("--output", path)
    return output.Target(format="tsv", path=path)


def _report(study: Study, preset: Preset) -> Report:
    from relubench.reports.training.study import study_report

    about = {"preset": preset.name, "scale": preset.scale, "stand_in": preset.stand_in}
    report = study_report(study, command="run", comparison=preset.comparison, about=about)
    title = f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}: {report.title}"
    caption = "; ".join(part for part in (preset.stand_in, report.caption) if part)
    notes = [*report.footnotes, *([preset.claim] if preset.claim else [])]
    return replace(report, title=title, caption=caption, footnotes=notes)


def _price(
    preset: Preset,
    target: output.Target,
    *,
    data_dir: Path | None,
    runs_dir: Path | None,
    fresh: bool,
    note: Callable[[str], None],
) -> None:
    from relubench.data import lines_about
    from relubench.experiments.cost import price
    from relubench.reports.cost import cost_row, cost_sentence

    found = price(preset.variants, data_dir=data_dir, runs_dir=runs_dir, fresh=fresh)
    for line in lines_about(prepared for prepared in found.sets if prepared.digest):
        note(line)
    rows = [one.to_json() for one in found.rows]
    title = f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}: {cost_sentence(found)}"
    shown = [cost_row(one) for one in found.rows] if target.for_people else rows
    output.emit_listings([output.Listing(rows=shown, title=title)], "run", target)
    if not target.for_people:
        output.say(title)
