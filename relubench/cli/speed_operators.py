"""`relubench speed` without a mode: activations as operators, beside relu, relu again and the measured roof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from relubench.cli import output
from relubench.cli.flags import whole_number
from relubench.cli.timing_rounds import show_rounds
from relubench.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from relubench.activations import ActivationChoice
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags


def time_operators(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Time every activation in every size, type and pass that is asked for, and write the table."""
    from relubench.activations import select
    from relubench.experiments.operator_speed import OperatorTiming, operator_request
    from relubench.experiments.speed import MODES, alone
    from relubench.reports.speed.sessions import operators_timed
    from relubench.system.device import resolve

    device = resolve(config.text("--device") or "auto")
    acts = config.text("--act") or MODES[""].acts
    choices = select(acts)
    request = operator_request(
        choices,
        device,
        size=flags.size or (["sweep"] if flags.plot is not None else None),
        dtype=flags.dtype,
        passes=flags.pass_,
        compiled=flags.compile_,
        threads=whole_number("--threads", flags.threads, 1, 4096) if flags.threads is not None else None,
        rel_ci=flags.rel_ci,
        budget=flags.budget,
        seed=flags.seed(config),
    )
    _say_what_is_copied(choices, flags)
    output.check_stdout(target)
    with alone(flags.note):
        timing = OperatorTiming(request, choices, acts, device)
        try:
            show_rounds(timing.run(), quiet=flags.quiet)
        except KeyboardInterrupt:
            if not timing.stop():
                raise
    report = operators_timed(timing.session, timing.warnings, device.name)
    output.emit_report(report, target, quiet=flags.quiet)
    if flags.plot is not None:
        from relubench.reports.plots.operators import plot_speed

        plot_speed(report.rows, report.runs, flags.plot, title=report.title)
    if timing.session.ended == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def _say_what_is_copied(choices: list[ActivationChoice], flags: SpeedFlags) -> None:
    """Names the activations that write into their input; a name that is not there is refused."""
    from relubench.activations import build

    for choice in choices:
        # What raises while it is measured is a row.
        if build(choice).copied:
            flags.note(f"{choice.label} writes into its input: its times hold a copy of it, but for --pass inplace")
