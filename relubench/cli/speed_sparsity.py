"""`relubench speed --sparsity`: what a layer's exact zeros are worth on this machine."""

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
    from relubench.timing.schedule import Session
    from relubench.timing.sparse_products import Setting

BUDGET_S = 30.0


def sparsity(
    given: Mapping[str, Any],
    target: output.Target,
    until: Callable[[Request], Request],
    plot: Path | None,
    quiet: bool,
) -> None:
    """Train one network, take its activations, multiply them with and without their zeros, and write the tables."""
    from relubench.timing.machine import MachineMonitor, exclusive_timing

    request = until(Request(sizes=(), budget_s=BUDGET_S))
    config = experiment({**given, "act": given.get("act") or ["relu"]})
    from relubench.experiments.study import Study

    say = (lambda text: None) if quiet else output.say
    with preparing():
        study = Study.open(config, data_dir=given["data_dir"], runs_dir=given["runs_dir"], note=say)
    _check_one(study)
    output.check_stdout(target)
    if carry_out(study, quiet):
        raise stopped(study)
    known = _settings(study)
    with exclusive_timing(lambda: say("another timing run is under way on this machine: waiting for it to end")):
        session = _session(request, known)
        watch = MachineMonitor()
        for share in session.run():
            show_round(session.rounds, share, ended=bool(session.ended), quiet=quiet)
        warnings = watch.warnings()
    _emit(study, session, known, warnings, target, plot, quiet)


def _check_one(study: Study) -> None:
    if study.device.kind != "cpu":
        raise UsageError(f"--sparsity measures the processor, not {study.device.kind}", "add --device cpu")
    if study.total > 1:
        raise UsageError(f"--sparsity takes one network, and {study.total} are asked for", "name one --act, one seed")
    if study.config.keep == "none":
        raise UsageError("--sparsity needs the trained weights, and keep=none stores none", "leave keep=none out")
    from relubench.timing.sparse_products import check_layers

    spec, part = study.specs[0], study.parts[0]
    check_layers(spec, next(one for one in part.choices if one.label == spec.activation), part.prepared)


def _settings(study: Study) -> list[Setting]:
    from relubench.reports.speed.sparse_products import paper_sparsity
    from relubench.timing.sparse_products import hidden_layers, settings

    spec, part = study.specs[0], study.parts[0]
    weights = study.store.weights_of(spec.id)
    if weights is None:
        why = next((one.message for one in study.results if one.message), "its weights were not kept")
        raise ComputeError(f"the network cannot be looked at: {why}", f"relubench runs delete {spec.id}, and repeat")
    choice = next(one for one in part.choices if one.label == spec.activation)
    return settings(hidden_layers(spec, choice, part.prepared, weights), choice, paper_sparsity())


def _session(request: Request, known: list[Setting]) -> Session:
    import torch

    from relubench.timing.clocks import choose_clock
    from relubench.timing.preparation import set_up
    from relubench.timing.products import prepare

    set_up(request)
    with torch.no_grad():
        return prepare(request, [one.load for one in known], choose_clock("cpu", request.threads))


def _emit(
    study: Study,
    session: Session,
    known: list[Setting],
    warnings: list[str],
    target: output.Target,
    plot: Path | None,
    quiet: bool,
) -> None:
    from relubench.reports.speed.sparse_products import WAYS, human_readable, sparsity_report
    from relubench.timing import rows as timed
    from relubench.timing.measurement import of_session
    from relubench.timing.sparse_products import BATCHES, break_even, sparsity_rows

    made = sparsity_rows(session, known)
    even = {(batch, way): break_even(made, way, batch) for batch in BATCHES for way in WAYS}
    spec, notes = study.specs[0], [*warnings, *timed.warnings(session)]
    subject = f"{spec.dataset} · {spec.model} · {spec.activation}"
    about = of_session(session, timed.against_itself(session), notes, subject=subject)
    report = sparsity_report(
        [row.to_json() for row in made], timed.runs(session), even, about, device=study.device.name
    )
    output.emit_reports(human_readable(report) if target.for_people else [report], target)
    if plot is not None:
        from relubench.reports.plots.sparse_products import plot_zeros

        plot_zeros(report, plot)
    if not target.for_people and not quiet:
        for line in (*about.warnings, report.sentence):
            output.say(line)
