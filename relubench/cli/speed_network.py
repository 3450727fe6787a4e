"""`relubench speed --network`: trains through the store like `train`, and reports time instead of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.cli import output
from relubench.cli.flags import experiment
from relubench.cli.rounds import show_round
from relubench.cli.study import carry_out, preparing, stopped
from relubench.errors import ComputeError, UsageError
from relubench.timing.request import Request

if TYPE_CHECKING:
    from relubench.experiments.study import Study
    from relubench.timing.steps import StepBenchmark

ARTICLE_ACTS = ("sigmoid", "tanh", "relu")
BUDGET_S = 30.0
"""For the steps; training is not counted."""


def network(
    given: Mapping[str, Any],
    target: output.Target,
    error: str | None,
    until: Callable[[Request], Request],
    plot: Path | None,
    quiet: bool,
) -> None:
    """Train, measure the steps, and write the tables. `until` sets when to stop repeating."""
    from relubench.timing.machine import MachineMonitor, exclusive_timing

    wanted = _percent(error)
    request = until(Request(sizes=(), budget_s=BUDGET_S))
    config = experiment({**given, "act": given.get("act") or list(ARTICLE_ACTS)})
    from relubench.experiments.study import Study

    say = (lambda text: None) if quiet else output.say
    with preparing():
        study = Study.open(config, data_dir=given["data_dir"], runs_dir=given["runs_dir"], note=say)
    output.check_stdout(target)
    interrupted = carry_out(study, quiet)
    if interrupted and not study.results:
        raise stopped(study)
    if not study.results:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")
    race, warnings = None, []
    if not interrupted:
        with exclusive_timing(lambda: say("another timing run is under way on this machine: waiting for it to end")):
            watch = MachineMonitor()
            race = _race(study, request, quiet)
            warnings = watch.warnings()
    failure = ""
    if race is not None and all(one.failure for one in race.networks):
        failure, race = race.networks[0].failure, None
    drawn = _emit(study, race, wanted, warnings, target, plot, quiet)
    if interrupted:
        raise stopped(study)
    if failure:
        raise ComputeError(f"no step could be timed: {failure}", "the rows above are what the training told")
    if not drawn:
        raise ComputeError(
            f"--plot {plot} was not written: no training ended ok, so there is no error to draw against time",
            "train longer (--epochs), or with another --lr",
        )


def _race(study: Study, request: Request, quiet: bool) -> StepBenchmark:
    from relubench.timing.steps import prepare_step_benchmark

    part = study.parts[0]
    race = prepare_step_benchmark(study.specs, part.choices, part.prepared, request.budget_s, request.rel_ci)
    for share in race.run():
        show_round(race.rounds, share, ended=bool(race.ended), quiet=quiet)
    return race


def _emit(
    study: Study,
    race: StepBenchmark | None,
    wanted: float | None,
    warnings: list[str],
    target: output.Target,
    plot: Path | None,
    quiet: bool,
) -> bool:
    """Write the tables and draw the plot; returns whether what was asked for could be drawn."""
    from relubench.reports.speed.networks import article_speed, human_readable, network_report
    from relubench.timing import networks as timed
    from relubench.timing.measurement import of_steps
    from relubench.timing.step_times import step_records, step_times

    results, timings = study.results, study.timings
    images = study.parts[0].prepared.n_train
    known = step_times(race) if race else {}
    article = article_speed(results[0].spec)
    goal = wanted if wanted is not None else timed.lowest_common_target(results)
    rows = [row.to_json() for row in timed.network_rows(results, known, images, goal, article, timings)]
    found = timed.points(results, known, images, timings)
    front = [one.to_json() for one in timed.front(found)]
    runs = [
        {**one.to_json(), "timing": timing.to_json() if (timing := timings.get(one.id)) else None} for one in results
    ]
    runs += step_records(race) if race else []
    about = of_steps(race, warnings, images) if race else None
    report = network_report(rows, runs, front, about, device=study.device.name)
    output.emit_reports(human_readable(report) if target.for_people else [report], target)
    if plot is not None and found:
        from relubench.reports.plots.pareto import plot_pareto

        plot_pareto([one.to_json() for one in found], front, rows[0]["target_error_pct"], plot, title=report.title)
    if not target.for_people and not quiet:
        for line in (*warnings, report.sentence):
            output.say(line)
    return plot is None or bool(found)


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
