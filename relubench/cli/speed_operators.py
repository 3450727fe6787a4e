"""`relubench speed` without a mode: activations as operators, beside relu, relu again and the measured roof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from relubench.cli import output
from relubench.cli.flags import whole_number
from relubench.cli.rounds import show_round
from relubench.errors import EXIT_INTERRUPTED, UsageError
from relubench.reports.formatting import count

if TYPE_CHECKING:
    from relubench.activations import Choice
    from relubench.system.device import Device
    from relubench.timing.request import Request
    from relubench.timing.schedule import Session


def operators(given: Mapping[str, Any], target: output.Target, plot: Path | None, quiet: bool) -> None:
    """Time every activation in every size, type and pass that is asked for, and write the table."""
    from relubench.activations import build, select
    from relubench.system.device import resolve
    from relubench.timing.machine import alone

    where = resolve(given["device"] or "auto")
    choices = select(given["act"] or ["all"])
    request = until(_request(where, choices, given, sweep=plot is not None), given)
    say = (lambda text: None) if quiet else output.say
    for choice in choices:
        # A name that is not there is refused; what raises while it is measured is a row.
        if build(choice).copied:
            say(f"{choice.label} writes into its input: its times hold a copy of it, but for --pass inplace")
    output.check_stdout(target)
    with alone(lambda: say("another timing run is under way on this machine: waiting for it to end")):
        session, warnings = _measured(request, choices, given, where, quiet)
    _emit(session, warnings, where, target, plot, quiet)
    if session.ended == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def until(request: Request, given: Mapping[str, Any]) -> Request:
    """The request with when to stop (--rel-ci, --budget), and the seed of inputs and order (--seed)."""
    from dataclasses import replace

    from relubench.experiments.config import MAX_SEED
    from relubench.timing.request import parse_number

    if given["rel_ci"] is not None:
        request = replace(request, rel_ci=parse_number("--rel-ci", given["rel_ci"], "%") / 100)
    if given["budget"] is not None:
        request = replace(request, budget_s=parse_number("--budget", given["budget"], "s"))
    if given["seed"] is not None:
        request = replace(request, seed=whole_number("--seed", given["seed"], 0, MAX_SEED))
    return request


def _request(device: Device, choices: Sequence[Choice], given: Mapping[str, Any], *, sweep: bool) -> Request:
    """The checked request for what to measure; UsageError before anything is allocated."""
    from relubench.timing import request as asked
    from relubench.timing.machine import caches, free_memory

    threads: str | None = given["threads"]
    passes: list[str] = [one for text in given["pass_"] or asked.DEFAULT_PASSES for one in text.split(",")]
    passes = list(asked.PASSES) if "all" in passes else passes
    made = asked.Request(
        sizes=asked.parse_sizes(
            given["size"] or (["sweep"] if sweep else list(asked.NAMED_SIZES)), caches(), device.kind
        ),
        dtypes=asked.check_names("--dtype", given["dtype"] or ["fp32"], tuple(asked.DTYPES)),
        passes=asked.check_names("--pass", passes, asked.PASSES),
        compiled=given["compile_"],
        threads=whole_number("--threads", threads, 1, 4096) if threads is not None else 1,
    )
    if threads is not None and device.kind != "cpu":
        raise UsageError(f"--threads {threads} means nothing on {device.kind}", "leave it out, or add --device cpu")
    columns = max(choice.columns for choice in choices)
    asked.check_memory(made, columns, device.memory, free_memory() if device.kind == "cpu" else None)
    if given["compile_"]:
        asked.check_compiler(device)
    return made


def _measured(
    request: Request, choices: Sequence[Choice], given: Mapping[str, Any], device: Device, quiet: bool
) -> tuple[Session, list[str]]:
    """The finished measurement, and what a reader has to know of the machine meanwhile."""
    import torch

    from relubench.timing.clocks import check_dtypes
    from relubench.timing.machine import Watch
    from relubench.timing.preparation import check_measurable, operators_session
    from relubench.timing.processes import Parts, parts

    check_dtypes(request.dtypes, device.kind)
    if parts(request, device.kind) > 1:
        watch, whole = Watch(), Parts(request, given["act"] or ["all"])
        try:
            for rounds, left, share in whole.run():
                _show(rounds, left, share, f"process {whole.done + 1}, ", ended=False, quiet=quiet)
        except KeyboardInterrupt:
            if not whole.done:
                raise
            whole.session.ended = "interrupted"
        finally:
            _show(0, 0, 1.0, "", ended=True, quiet=quiet)
        return whole.session, [*whole.warnings, *watch.warnings()]
    session = operators_session(request, choices, device.kind)
    check_measurable(session)
    # Not before: what the compiler's processes do is not a neighbour's.
    watch = Watch()
    try:
        with torch.no_grad():
            for share in session.run():
                left = sum(not cell.done for cell in session.cells)
                _show(session.rounds, left, share, "", ended=False, quiet=quiet)
    except KeyboardInterrupt:
        if not session.rounds:
            raise
        session.ended = "interrupted"
    finally:
        _show(0, 0, 1.0, "", ended=True, quiet=quiet)
    return session, watch.warnings()


def _show(rounds: int, left: int, share: float, more: str, *, ended: bool, quiet: bool) -> None:
    still = f"{count(left, 'cell')} to go, " if left else ""
    show_round(rounds, min(1.0, share), ended=ended, quiet=quiet, more=more + still)


def _emit(
    session: Session, warnings: list[str], device: Device, target: output.Target, plot: Path | None, quiet: bool
) -> None:
    from relubench.reports.speed.operators import Measurement, failures, speed_report
    from relubench.timing import rows as made

    aa = made.against_itself(session)
    roofs = [(cell.size.name, cell.dtype, name, gb) for cell, name, gb in made.roofs_gb_per_s(session)]
    course = Measurement(
        clock=session.clock.name,
        ended=session.ended,
        rounds=session.rounds,
        processes=max((len(cell.rounds) for cell in session.cells), default=0) or 1,
        seconds=session.seconds,
        budget_s=session.request.budget_s,
        rel_ci=session.request.rel_ci,
        aa_cells=aa.cells,
        aa_called=aa.called,
        aa_expected=aa.expected,
        aa_widest=aa.widest,
        roofs=roofs,
        warnings=[*warnings, *made.warnings(session)],
        sizes=[(one.name, one.elements) for one in session.request.sizes],
    )
    rows = [row.to_json() for row in made.rows(session)]
    report = speed_report(rows, made.runs(session), course, device=device.name)
    output.emit_report(report, target)
    if plot is not None:
        from relubench.reports.plots.operators import plot_speed

        plot_speed(rows, made.runs(session), plot, title=report.title)
    if not target.for_people:
        for line in (*course.warnings, *failures(rows), *([] if quiet else [report.sentence])):
            output.say(line)
