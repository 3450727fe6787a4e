"""`relubench speed --network`: trains through the store like `train`, and reports time instead of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relubench.cli import output
from relubench.cli.study import carry_out, preparing, stopped
from relubench.cli.timing_rounds import exclusive_timing, run_rounds
from relubench.errors import ComputeError, UsageError
from relubench.timing.request import Request

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.experiments.study import Study
    from relubench.timing.steps import StepBenchmark

ARTICLE_ACTS = ("sigmoid", "tanh", "relu")
BUDGET_S = 30.0
"""For the steps; training is not counted."""


def time_networks(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train, measure the steps, and write the tables."""
    target_error_pct = _percent(flags.target_error)
    request = flags.until(Request(sizes=(), budget_s=BUDGET_S), config)
    study = open_study(config, flags, ARTICLE_ACTS)
    output.check_stdout(target)
    interrupted = carry_out(study, flags.quiet)
    if interrupted and not study.results:
        raise stopped(study)
    if not study.results:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")
    race, warnings = (None, []) if interrupted else _race(study, request, flags)
    failure = ""
    if race is not None and all(network.failure for network in race.networks):
        failure, race = race.networks[0].failure, None
    is_drawn = _emit(study, race, target_error_pct, warnings, target, flags)
    if interrupted:
        raise stopped(study)
    if failure:
        raise ComputeError(f"no step could be timed: {failure}", "the rows above are what the training told")
    if not is_drawn:
        raise ComputeError(
            f"--plot {flags.plot} was not written: no training ended ok, so there is no error to draw against time",
            "train longer (--epochs), or with another --lr",
        )


def open_study(config: ConfigFlags, flags: SpeedFlags, acts: tuple[str, ...]) -> Study:
    """The study that is trained before it is timed, by default with these activations."""
    experiment = config.experiment({"act": acts})
    from relubench.experiments.study import Study

    with preparing():
        return Study.open(experiment, data_dir=flags.data_dir, runs_dir=flags.runs_dir, note=flags.note)


def _race(study: Study, request: Request, flags: SpeedFlags) -> tuple[StepBenchmark, list[str]]:
    """The timed steps of all networks, and what a reader has to know of the machine meanwhile."""
    from relubench.timing.steps import prepare_step_benchmark

    part = study.parts[0]
    with exclusive_timing(flags.note):
        race = prepare_step_benchmark(study.specs, part.choices, part.prepared, request.budget_s, request.rel_ci)
        return race, run_rounds(race, quiet=flags.quiet)


def _emit(
    study: Study,
    race: StepBenchmark | None,
    target_error_pct: float | None,
    warnings: list[str],
    target: output.Target,
    flags: SpeedFlags,
) -> bool:
    """Write the tables and draw the plot; returns whether the plot that was asked for could be drawn."""
    from relubench.reports.speed.networks import article_speed, human_readable, network_report
    from relubench.timing import networks as timed
    from relubench.timing.measurement import of_steps
    from relubench.timing.step_times import step_times

    results, timings = study.results, study.timings
    num_images = study.parts[0].prepared.n_train
    times = step_times(race) if race else {}
    article = article_speed(results[0].spec)
    goal = target_error_pct if target_error_pct is not None else timed.lowest_common_target(results)
    rows = [row.to_json() for row in timed.network_rows(results, times, num_images, goal, article, timings)]
    points = timed.points(results, times, num_images, timings)
    front = [point.to_json() for point in timed.front(points)]
    measurement = of_steps(race, warnings, num_images) if race else None
    report = network_report(rows, _runs(study, race), front, measurement, device=study.device.name)
    output.emit_reports(human_readable(report) if target.for_people else [report], target)
    if flags.plot is not None and points:
        from relubench.reports.plots.pareto import plot_pareto

        plot_pareto(
            [point.to_json() for point in points], front, rows[0]["target_error_pct"], flags.plot, title=report.title
        )
    if not target.for_people and not flags.quiet:
        for line in (*warnings, report.sentence):
            output.say(line)
    return flags.plot is None or bool(points)


def _runs(study: Study, race: StepBenchmark | None) -> list[dict[str, Any]]:
    """The trainings and the timed steps as they stand in the JSON."""
    from relubench.timing.step_times import step_records

    runs = []
    for result in study.results:
        timing = study.timings.get(result.id)
        runs.append({**result.to_json(), "timing": timing.to_json() if timing else None})
    return runs + (step_records(race) if race else [])


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
