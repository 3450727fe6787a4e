"""`relubench speed --arithmetic`: the article's table of operations, as throughput on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.timing_rounds import show_rounds

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags


def time_arithmetic(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time add, multiply, compare, divide, exp and log in the first cache, and write the table."""
    from relubench.experiments.operator_speed import arithmetic_session
    from relubench.experiments.speed import alone, run_rounds, timing_request
    from relubench.reports.speed.sessions import arithmetic_timed
    from relubench.system.device import resolve

    request = timing_request("--arithmetic", flags.rel_ci, flags.budget, flags.seed(config))
    device = resolve(config.text("--device") or "cpu")
    output.check_stdout(target)
    warnings: list[str] = []
    with alone(flags.note):
        session = arithmetic_session(request, device)
        show_rounds(run_rounds(session, warnings), quiet=flags.quiet)
    output.emit_report(arithmetic_timed(session, warnings, device.name), target, quiet=flags.quiet)
