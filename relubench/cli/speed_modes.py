"""What `relubench speed` times: activations as operators, trained networks, their sparse products, or operations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from relubench.cli import output, pages
from relubench.cli.flags import whole_number
from relubench.cli.study import carry_out, preparing, stopped
from relubench.cli.timing_rounds import show_rounds
from relubench.errors import EXIT_INTERRUPTED, WARNING, ComputeError
from relubench.experiments.record import record_of
from relubench.experiments.speed import MODES, check_place, timing_request

if TYPE_CHECKING:
    from pathlib import Path

    from relubench.activations import ActivationChoice
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.experiments.study import Study
    from relubench.reports.report import Report
    from relubench.reports.speed.sessions import TimedNetworks
    from relubench.timing.request import Request


def time_operators(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time every activation in every size, type and pass that is asked for, and write the table."""
    from relubench.activations import select
    from relubench.experiments import operator_speed
    from relubench.experiments.operator_inputs import recorded_inputs
    from relubench.reports.speed.sessions import operators_timed
    from relubench.system.device import resolve

    device = resolve(config.text("--device") or "auto")
    acts = config.text("--act") or MODES[""].acts
    choices, recorded = select(acts), recorded_inputs(flags.inputs, flags.runs_dir, flags.data_dir)
    request = operator_speed.operator_request(
        choices,
        device,
        size=flags.size or (["sweep"] if flags.plot is not None else None),
        dtype=flags.dtype,
        passes=flags.pass_,
        compiled=flags.compile_,
        threads=whole_number("--threads", flags.threads, 1, 4096) if flags.threads is not None else None,
        inputs=recorded,
        **flags.limits(config),
    )
    _say_what_is_copied(choices, flags)
    output.check_stdout(target)
    gate, watch = flags.gate(), partial(show_rounds, quiet=flags.quiet)
    timed = operator_speed.time_operators(request, choices, acts, device, watch, flags.note, keep_interrupted=True)
    report = gate(operators_timed(timed, recorded))
    _show(report, target, flags)
    if timed.measurement.ended == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)
    flags.end(report)


def _say_what_is_copied(choices: list[ActivationChoice], flags: SpeedFlags) -> None:
    """Names the activations that write into their input; a name that is not there is refused."""
    from relubench.activations import build

    for choice in choices:
        # What raises while it is measured is a row.
        if build(choice).copied:
            flags.note(f"{choice.label} writes into its input: its times hold a copy of it, but for --pass inplace")


def _show(report: Report, target: output.Target, flags: SpeedFlags) -> None:
    """Write the table, and what --plot, --report and --log ask for."""
    report = pages.finished(report, flags.caption)
    output.emit_report(report, target, quiet=flags.quiet)
    pages.write_files(report, flags.plot, flags.report, quiet=flags.quiet)
    pages.write_logs(report, flags.log, quiet=flags.quiet)


def time_arithmetic(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time add, multiply, compare, divide, exp and log in the first cache, and write the table."""
    from relubench.experiments import operator_speed
    from relubench.reports.speed.sessions import arithmetic_timed
    from relubench.system.device import resolve

    request = timing_request("--arithmetic", **flags.limits(config))
    device = resolve(config.text("--device") or "cpu")
    output.check_stdout(target)
    timed = operator_speed.time_arithmetic(request, device, partial(show_rounds, quiet=flags.quiet), flags.note)
    _show(arithmetic_timed(timed), target, flags)


def time_products(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train one network, take its activations, multiply them with and without their zeros, and write the tables."""
    from relubench.experiments import network_speed
    from relubench.reports.speed.sessions import products_timed

    request = timing_request("--sparsity", **flags.limits(config))
    study = _open_study(config, flags, "--sparsity")
    network_speed.check_sparse(study)
    output.check_stdout(target)
    if carry_out(study, flags.quiet, flags.log):
        raise stopped(study)
    watch = partial(show_rounds, quiet=flags.quiet)
    report = products_timed(record_of(study), *network_speed.time_products(study, request, watch, flags.note))
    _show(report, target, flags)


def time_networks(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train, measure the steps, and write the tables."""
    from relubench.experiments import network_speed
    from relubench.runs.task import task_called

    gate = flags.gate()
    network_speed.target_score(flags.target_error)
    request = timing_request("--network", **flags.limits(config), compiled=flags.compile_)
    study = _open_study(config, flags, "--network")
    network_speed.check_compiled(study, request)
    target_score = network_speed.target_score(flags.target_error, task_called(study.parts[0].prepared.task))
    output.check_stdout(target)
    interrupted = carry_out(study, flags.quiet, flags.log)
    if interrupted and not study.results:
        raise stopped(study)
    if not study.results:
        raise ComputeError(f"none of the {study.total} runs could be computed", "see the warnings above")
    timed, failure = _timed_networks(study, None if interrupted else request, target_score, flags)
    gated = timed.report if interrupted or failure else gate(timed.report)
    report = pages.finished(gated, flags.caption)
    output.emit_report(report, target, quiet=flags.quiet)
    pages.write_files(report, flags.plot if timed.points else None, flags.report, quiet=flags.quiet)
    pages.write_logs(report, flags.log, quiet=flags.quiet)
    if interrupted:
        raise stopped(study)
    _conclude(timed, failure, flags.plot)
    flags.end(report)


def _conclude(timed: TimedNetworks, failure: str, plot: Path | None) -> None:
    """Raises ComputeError where no network trained and was timed, or no figure was drawn; names those that failed."""
    from relubench.experiments.network_speed import why_not_ok

    if failure:
        raise ComputeError(f"no step could be timed: {failure}", "the rows above are what the training told")
    if plot is not None and not timed.points:
        raise ComputeError(
            f"--plot {plot} was not written: no training ended ok, so there is no error to draw against time",
            "train longer (--epochs), or with another --lr",
        )
    rows = timed.report.rows
    if not (faults := why_not_ok(rows)):
        return
    if all(row["outcome"] != "ok" for row in rows):
        raise ComputeError(
            f"no network trained and was timed: {faults}", "their rows say why; --epochs and --lr may help"
        )
    output.say(f"{WARNING}not every network trained and was timed: {faults}; their rows say why")


def _timed_networks(
    study: Study, request: Request | None, target_score: float | None, flags: SpeedFlags
) -> tuple[TimedNetworks, str]:
    """The networks' tables, with timed steps unless `request` is None, and why no step could be timed."""
    from relubench.experiments import network_speed
    from relubench.reports.speed.sessions import networks_timed

    watch = partial(show_rounds, quiet=flags.quiet)
    steps = network_speed.time_networks(study, request, watch, flags.note) if request is not None else None
    failure = network_speed.failure_of(steps.measurement) if steps is not None else ""
    num_images = study.parts[0].prepared.n_train
    return networks_timed(record_of(study), None if failure else steps, target_score, num_images), failure


def _open_study(config: ConfigFlags, flags: SpeedFlags, mode: str) -> Study:
    """The study that is trained before it is timed, by default with the activations of this mode."""
    from relubench.experiments.study import Study

    experiment = config.experiment({"act": MODES[mode].acts})
    check_place(experiment)
    with preparing():
        return Study.open(experiment, data_dir=flags.data_dir, runs_dir=flags.runs_dir, note=flags.note)


MEASURES = {
    "": time_operators,
    "--network": time_networks,
    "--sparsity": time_products,
    "--arithmetic": time_arithmetic,
}
"""The mode of MODES -> what measures it and writes its table."""
