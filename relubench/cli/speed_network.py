"""`relubench speed --network`: trains through the store like `train`, and reports time instead of errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from relubench.cli import output
from relubench.cli.overrides import experiment
from relubench.cli.study import carry_out
from relubench.errors import EXIT_INTERRUPTED, ComputeError, UsageError

ARTICLE_ACTS = ("sigmoid", "tanh", "relu")


def network(given: Mapping[str, Any], target: output.Target, error: str | None, plot: Path | None, quiet: bool) -> None:
    """Train, measure the stages, and write the table."""
    from relubench.timing.machine import Watch, alone

    wanted = _percent(error)
    acts = given.get("act") or list(ARTICLE_ACTS)
    config = experiment({**given, "act": acts})
    from relubench.runner import Study

    say = (lambda text: None) if quiet else output.say
    study = Study.open(config, data_dir=given["data_dir"], runs_dir=given["runs_dir"], note=say)
    with alone(lambda: say("another timing run is under way on this machine: waiting for it to end")):
        watch = Watch()
        interrupted = carry_out(study, quiet)
        stages = {} if interrupted else _stages(study)
    if not study.results:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")
    _emit(study, stages, wanted, watch.warnings(), target, quiet)
    if plot is not None:
        from relubench.reports.plots import plot_curves

        plot_curves(study.results, study.timings, plot)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _stages(study: Any) -> dict[str, Any]:
    """Of every activation on a processor; elsewhere a step is one graph, without stages."""
    from relubench.network_timing import measure_stages

    if study.device.kind != "cpu":
        return {}
    part = study.parts[0]
    by_label = {choice.label: choice for choice in part.choices}
    first = {spec.activation: spec for spec in reversed(study.specs)}
    return {label: measure_stages(spec, by_label[label], part.prepared) for label, spec in first.items()}


def _emit(
    study: Any, stages: Mapping[str, Any], wanted: float | None, warnings: list[str], target: output.Target, quiet: bool
) -> None:
    from relubench.network_timing import lowest_common_target, network_rows
    from relubench.reports.network_speed import article_speed, network_report

    timings = study.timings
    goal = wanted if wanted is not None else lowest_common_target(study.results)
    rows = [row.to_json() for row in network_rows(study.results, timings, stages, goal, article_speed())]
    clocks = {run: timing.to_json() if timing else None for run, timing in timings.items()}
    runs = [{**one.to_json(), "timing": clocks.get(one.id)} for one in study.results]
    report = network_report(rows, runs, device=study.device.name, warnings=warnings)
    output.emit_report(report, target)
    if not target.for_people and not quiet:
        output.say(report.sentence)


def _percent(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 < value < 100:
        raise UsageError(
            f"--target must be a validation error between 0 and 100 %, got {text!r}", "for example --target 2%"
        )
    return value
