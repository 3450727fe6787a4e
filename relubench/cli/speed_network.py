"""`relubench speed --network`: trains through the store like `train`, and reports time instead of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.study import carry_out, preparing, stopped
from relubench.cli.timing_rounds import show_rounds
from relubench.errors import ComputeError

if TYPE_CHECKING:
    from pathlib import Path

    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.experiments.study import Study
    from relubench.reports.speed.sessions import TimedNetworks
    from relubench.timing.request import Request
    from relubench.timing.steps import StepBenchmark


def time_networks(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train, measure the steps, and write the tables."""
    from relubench.experiments.network_speed import failure_of, target_error
    from relubench.experiments.record import record_of
    from relubench.experiments.speed import timing_request
    from relubench.reports.speed.sessions import networks_timed

    target_error_pct = target_error(flags.target_error)
    request = timing_request("--network", flags.rel_ci, flags.budget, flags.seed(config))
    study = open_study(config, flags, "--network")
    output.check_stdout(target)
    interrupted = carry_out(study, flags.quiet)
    if interrupted and not study.results:
        raise stopped(study)
    if not study.results:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")
    warnings: list[str] = []
    race = None if interrupted else _race(study, request, flags, warnings)
    failure = failure_of(race) if race is not None else ""
    num_images = study.parts[0].prepared.n_train
    timed = networks_timed(record_of(study), None if failure else race, target_error_pct, warnings, num_images)
    output.emit_report(timed.report, target, quiet=flags.quiet)
    if flags.plot is not None and timed.points:
        _draw(timed, flags.plot)
    if interrupted:
        raise stopped(study)
    if failure:
        raise ComputeError(f"no step could be timed: {failure}", "the rows above are what the training told")
    if flags.plot is not None and not timed.points:
        raise ComputeError(
            f"--plot {flags.plot} was not written: no training ended ok, so there is no error to draw against time",
            "train longer (--epochs), or with another --lr",
        )


def open_study(config: ConfigFlags, flags: SpeedFlags, mode: str) -> Study:
    """The study that is trained before it is timed, by default with the activations of this mode."""
    from relubench.experiments.speed import MODES
    from relubench.experiments.study import Study

    experiment = config.experiment({"act": MODES[mode].acts})
    with preparing():
        return Study.open(experiment, data_dir=flags.data_dir, runs_dir=flags.runs_dir, note=flags.note)


def _race(study: Study, request: Request, flags: SpeedFlags, warnings: list[str]) -> StepBenchmark:
    """The timed steps of all networks; `warnings` gets what a reader has to know of the machine meanwhile."""
    from relubench.experiments.network_speed import steps_of
    from relubench.experiments.speed import alone, run_rounds

    with alone(flags.note):
        race = steps_of(study, request)
        show_rounds(run_rounds(race, warnings), quiet=flags.quiet)
    return race


def _draw(timed: TimedNetworks, plot: Path) -> None:
    from relubench.reports.plots.pareto import plot_pareto

    report = timed.report
    plot_pareto(timed.points, report.about["pareto"], report.rows[0]["target_error_pct"], plot, title=report.title)
