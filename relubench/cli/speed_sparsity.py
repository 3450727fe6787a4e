"""`relubench speed --sparsity`: what a layer's exact zeros are worth on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.speed_network import open_study
from relubench.cli.study import carry_out, stopped
from relubench.cli.timing_rounds import exclusive_timing, run_rounds
from relubench.errors import ComputeError, UsageError
from relubench.timing.request import Request

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags
    from relubench.experiments.study import Study
    from relubench.timing.schedule import Session
    from relubench.timing.sparse_products import Setting

BUDGET_S = 30.0


def time_products(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train one network, take its activations, multiply them with and without their zeros, and write the tables."""
    request = flags.until(Request(sizes=(), budget_s=BUDGET_S), config)
    study = open_study(config, flags, ("relu",))
    _check_study(study)
    output.check_stdout(target)
    if carry_out(study, flags.quiet):
        raise stopped(study)
    settings = _settings(study)
    with exclusive_timing(flags.note):
        session = _session(request, settings)
        warnings = run_rounds(session, quiet=flags.quiet)
    _emit(study, session, settings, warnings, target, flags)


def _check_study(study: Study) -> None:
    """Raises UsageError where there is not one network of ours, on the processor, whose weights are stored."""
    if not study.device.is_processor:
        raise UsageError(f"--sparsity measures the processor, not {study.device.kind}", "add --device cpu")
    if study.total > 1:
        raise UsageError(f"--sparsity takes one network, and {study.total} are asked for", "name one --act, one seed")
    if study.config.keep == "none":
        raise UsageError("--sparsity needs the trained weights, and keep=none stores none", "leave keep=none out")
    from relubench.timing.sparse_products import check_layers

    spec, part = study.specs[0], study.parts[0]
    check_layers(spec, next(choice for choice in part.choices if choice.label == spec.activation), part.prepared)


def _settings(study: Study) -> list[Setting]:
    from relubench.reports.speed.sparse_products import paper_sparsity
    from relubench.timing.sparse_products import hidden_layers, settings

    spec, part = study.specs[0], study.parts[0]
    weights = study.store.weights_of(spec.id)
    if weights is None:
        why = next((result.message for result in study.results if result.message), "its weights were not kept")
        raise ComputeError(f"the network cannot be looked at: {why}", f"relubench runs delete {spec.id}, and repeat")
    choice = next(choice for choice in part.choices if choice.label == spec.activation)
    return settings(hidden_layers(spec, choice, part.prepared, weights), choice, paper_sparsity())


def _session(request: Request, settings: list[Setting]) -> Session:
    import torch

    from relubench.timing.clocks import choose_clock
    from relubench.timing.preparation import set_up
    from relubench.timing.products import prepare

    set_up(request)
    with torch.no_grad():
        return prepare(request, [setting.load for setting in settings], choose_clock("cpu", request.threads))


def _emit(
    study: Study,
    session: Session,
    settings: list[Setting],
    warnings: list[str],
    target: output.Target,
    flags: SpeedFlags,
) -> None:
    from relubench.reports.speed.sparse_products import WAYS, human_readable, sparsity_report
    from relubench.timing import rows as timed
    from relubench.timing.measurement import of_session
    from relubench.timing.sparse_products import BATCHES, break_even, sparsity_rows

    rows = sparsity_rows(session, settings)
    even = {(batch, way): break_even(rows, way, batch) for batch in BATCHES for way in WAYS}
    spec, notes = study.specs[0], [*warnings, *timed.warnings(session)]
    subject = f"{spec.dataset} · {spec.model} · {spec.activation}"
    measurement = of_session(session, timed.against_itself(session), notes, subject=subject)
    report = sparsity_report(
        [row.to_json() for row in rows], timed.runs(session), even, measurement, device=study.device.name
    )
    output.emit_reports(human_readable(report) if target.for_people else [report], target)
    if flags.plot is not None:
        from relubench.reports.plots.sparse_products import plot_zeros

        plot_zeros(report, flags.plot)
    if not target.for_people and not flags.quiet:
        for line in (*measurement.warnings, report.sentence):
            output.say(line)
