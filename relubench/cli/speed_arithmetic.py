"""`relubench speed --arithmetic`: the article's table of operations, as throughput on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from relubench.cli import output
from relubench.cli.rounds import show_round
from relubench.errors import UsageError
from relubench.timing.request import Request

if TYPE_CHECKING:
    from relubench.timing.schedule import Session

BUDGET_S = 10.0


def arithmetic(
    given: Mapping[str, Any], target: output.Target, until: Callable[[Request], Request], quiet: bool
) -> None:
    """Time add, multiply, compare, divide, exp and log in the first cache, and write the table."""
    request = until(Request(sizes=(), budget_s=BUDGET_S))
    import torch

    from relubench.system.device import resolve
    from relubench.timing.arithmetic import prepare
    from relubench.timing.clocks import choose_clock
    from relubench.timing.machine import Watch, alone, caches
    from relubench.timing.preparation import set_up

    where = resolve(given.get("device") or "cpu")
    if where.kind != "cpu":
        raise UsageError(f"--arithmetic measures the processor, not {where.kind}", "leave --device out")
    say = (lambda text: None) if quiet else output.say
    set_up(request)
    output.check_stdout(target)
    with alone(lambda: say("another timing run is under way on this machine: waiting for it to end")), torch.no_grad():
        session = prepare(request, caches().first, choose_clock("cpu", request.threads))
        watch = Watch()
        for share in session.run():
            show_round(session.rounds, share, ended=bool(session.ended), quiet=quiet)
        warnings = watch.warnings()
    _emit(session, warnings, where.name, target, quiet)


def _emit(session: Session, warnings: list[str], device: str, target: output.Target, quiet: bool) -> None:
    from relubench.reports.speed.arithmetic import Measurement, arithmetic_report, article_cycles
    from relubench.timing import arithmetic as timed
    from relubench.timing.rows import runs
    from relubench.timing.rows import warnings as of_samples

    twin = timed.against_itself(session)
    about = Measurement(
        clock=session.clock.name,
        rounds=session.rounds,
        seconds=session.seconds,
        ended=session.ended,
        budget_s=session.request.budget_s,
        rel_ci=session.request.rel_ci,
        aa_low=twin and twin.low,
        aa_high=twin and twin.high,
        warnings=[*warnings, *of_samples(session)],
    )
    rows = [row.to_json() for row in timed.rows(session, article_cycles())]
    report = arithmetic_report(rows, runs(session), about, device=device)
    output.emit_report(report, target)
    if not target.for_people and not quiet:
        for line in (*about.warnings, report.sentence):
            output.say(line)
