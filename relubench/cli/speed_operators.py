"""`relubench speed` without a mode: activations as operators, beside relu, relu again and the measured roof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from relubench.cli import output
from relubench.cli.flags import whole_number
from relubench.cli.timing_rounds import exclusive_timing, show_round
from relubench.errors import EXIT_INTERRUPTED, UsageError
from relubench.reports.formatting import count

if TYPE_CHECKING:
    from relubench.activations import ActivationChoice
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.system.device import Device
    from relubench.timing.request import Request
    from relubench.timing.schedule import Session

EVERY_ACT = ("all",)


def time_operators(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time every activation in every size, type and pass that is asked for, and write the table."""
    from relubench.activations import build, select
    from relubench.system.device import resolve

    device = resolve(config.text("--device") or "auto")
    acts = config.text("--act") or EVERY_ACT
    choices = select(acts)
    request = flags.until(_request(device, choices, flags), config)
    for choice in choices:
        # A name that is not there is refused; what raises while it is measured is a row.
        if build(choice).copied:
            flags.note(f"{choice.label} writes into its input: its times hold a copy of it, but for --pass inplace")
    output.check_stdout(target)
    with exclusive_timing(flags.note):
        session, warnings = _measured(request, choices, acts, device, flags.quiet)
    _emit(session, warnings, device, target, flags)
    if session.ended == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def _request(device: Device, choices: Sequence[ActivationChoice], flags: SpeedFlags) -> Request:
    """The checked request for what to measure; UsageError before anything is allocated."""
    from relubench.timing import request as checks
    from relubench.timing.machine import caches, free_memory

    sizes = flags.size or (["sweep"] if flags.plot is not None else list(checks.NAMED_SIZES))
    passes: list[str] = [name for text in flags.pass_ or checks.DEFAULT_PASSES for name in text.split(",")]
    passes = list(checks.PASSES) if "all" in passes else passes
    request = checks.Request(
        sizes=checks.parse_sizes(sizes, caches(), device.kind),
        dtypes=checks.check_names("--dtype", flags.dtype or ["fp32"], tuple(checks.DTYPES)),
        passes=checks.check_names("--pass", passes, checks.PASSES),
        compiled=flags.compile_,
        threads=whole_number("--threads", flags.threads, 1, 4096) if flags.threads is not None else 1,
    )
    if flags.threads is not None and not device.is_processor:
        raise UsageError(
            f"--threads {flags.threads} means nothing on {device.kind}", "leave it out, or add --device cpu"
        )
    columns = max(choice.inputs_per_unit for choice in choices)
    checks.check_memory(request, columns, device.memory, free_memory() if device.is_processor else None)
    if flags.compile_:
        checks.check_compiler(device)
    return request


def _measured(
    request: Request, choices: Sequence[ActivationChoice], acts: Sequence[str], device: Device, quiet: bool
) -> tuple[Session, list[str]]:
    """The finished measurement, and what a reader has to know of the machine meanwhile."""
    from relubench.timing.clocks import check_dtypes
    from relubench.timing.preparation import check_measurable, operators_session
    from relubench.timing.processes import choose_num_processes

    check_dtypes(request.dtypes, device.kind)
    if choose_num_processes(request, device.kind) > 1:
        return _measured_by_processes(request, acts, quiet)
    session = operators_session(request, choices, device.kind)
    check_measurable(session)
    return session, _run_session(session, quiet)


def _measured_by_processes(request: Request, acts: Sequence[str], quiet: bool) -> tuple[Session, list[str]]:
    """What several processes measured one after the other, put together."""
    from relubench.timing.machine import MachineMonitor
    from relubench.timing.processes import ProcessSeries

    watch, processes = MachineMonitor(), ProcessSeries(request, list(acts))
    try:
        for num_rounds, num_open, share in processes.run():
            _show(num_rounds, num_open, share, f"process {processes.done + 1}, ", quiet=quiet)
    except KeyboardInterrupt:
        if not processes.done:
            raise
        processes.session.ended = "interrupted"
    finally:
        _wipe(quiet)
    return processes.session, [*processes.warnings, *watch.warnings()]


def _run_session(session: Session, quiet: bool) -> list[str]:
    """Measure in this process, to the end or an interruption; returns what to know of the machine meanwhile."""
    import torch

    from relubench.timing.machine import MachineMonitor

    # Not before: what the compiler's processes do is not a neighbour's.
    watch = MachineMonitor()
    try:
        with torch.no_grad():
            for share in session.run():
                num_open = sum(not cell.done for cell in session.cells)
                _show(session.rounds, num_open, share, "", quiet=quiet)
    except KeyboardInterrupt:
        if not session.rounds:
            raise
        session.ended = "interrupted"
    finally:
        _wipe(quiet)
    return watch.warnings()


def _show(num_rounds: int, num_open: int, share: float, more: str, *, quiet: bool) -> None:
    """Show the round in progress, and how many cells are not sure enough yet."""
    still = f"{count(num_open, 'cell')} to go, " if num_open else ""
    show_round(num_rounds, min(1.0, share), ended=False, quiet=quiet, more=more + still)


def _wipe(quiet: bool) -> None:
    show_round(0, 1.0, ended=True, quiet=quiet)


def _emit(session: Session, warnings: list[str], device: Device, target: output.Target, flags: SpeedFlags) -> None:
    from relubench.reports.speed.operators import failures, speed_report
    from relubench.timing import rows as timed
    from relubench.timing.measurement import of_session

    roofs = [(cell.size.name, cell.dtype, name, gb) for cell, name, gb in timed.roofs_gb_per_s(session)]
    notes = [*warnings, *timed.warnings(session)]
    measurement = of_session(session, timed.against_itself(session), notes, roofs=roofs)
    rows = [row.to_json() for row in timed.rows(session)]
    report = speed_report(rows, timed.runs(session), measurement, device=device.name)
    output.emit_report(report, target)
    if flags.plot is not None:
        from relubench.reports.plots.operators import plot_speed

        plot_speed(rows, timed.runs(session), flags.plot, title=report.title)
    if not target.for_people:
        for line in (*measurement.warnings, *failures(rows), *([] if flags.quiet else [report.sentence])):
            output.say(line)
