"""`relubench speed --arithmetic`: the article's table of operations, as throughput on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.timing_rounds import exclusive_timing, run_rounds
from relubench.errors import UsageError
from relubench.timing.request import Request

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.timing.schedule import Session

BUDGET_S = 10.0


def time_arithmetic(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time add, multiply, compare, divide, exp and log in the first cache, and write the table."""
    request = flags.until(Request(sizes=(), budget_s=BUDGET_S), config)
    import torch

    from relubench.system.device import resolve
    from relubench.timing.arithmetic import prepare
    from relubench.timing.clocks import choose_clock
    from relubench.timing.machine import caches
    from relubench.timing.preparation import set_up

    device = resolve(config.text("--device") or "cpu")
    if not device.is_processor:
        raise UsageError(f"--arithmetic measures the processor, not {device.kind}", "leave --device out")
    set_up(request)
    output.check_stdout(target)
    with exclusive_timing(flags.note), torch.no_grad():
        session = prepare(request, caches().first, choose_clock("cpu", request.threads))
        warnings = run_rounds(session, quiet=flags.quiet)
    _emit(session, warnings, device.name, target, flags.quiet)


def _emit(session: Session, warnings: list[str], device: str, target: output.Target, quiet: bool) -> None:
    from relubench.reports.speed.arithmetic import arithmetic_report, article_cycles
    from relubench.timing import arithmetic as timed
    from relubench.timing.measurement import of_session
    from relubench.timing.rows import runs
    from relubench.timing.rows import warnings as of_samples

    measurement = of_session(session, timed.against_itself(session), [*warnings, *of_samples(session)])
    rows = [row.to_json() for row in timed.rows(session, article_cycles())]
    report = arithmetic_report(rows, runs(session), measurement, device=device)
    output.emit_report(report, target)
    if not target.for_people and not quiet:
        for line in (*measurement.warnings, report.sentence):
            output.say(line)
