"""`relubench speed --sparsity`: what a layer's exact zeros are worth on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.speed_network import open_study
from relubench.cli.study import carry_out, stopped
from relubench.cli.timing_rounds import show_rounds

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.cli.speed_flags import SpeedFlags


def time_products(config: ConfigFlags, flags: SpeedFlags, target: output.Target) -> None:
    """Train one network, take its activations, multiply them with and without their zeros, and write the tables."""
    from relubench.experiments.network_speed import check_sparse, products_of, sparse_settings
    from relubench.experiments.record import record_of
    from relubench.experiments.speed import alone, run_rounds, timing_request
    from relubench.reports.speed.sessions import products_timed

    request = timing_request("--sparsity", flags.rel_ci, flags.budget, flags.seed(config))
    study = open_study(config, flags, "--sparsity")
    check_sparse(study)
    output.check_stdout(target)
    if carry_out(study, flags.quiet):
        raise stopped(study)
    settings = sparse_settings(study)
    warnings: list[str] = []
    with alone(flags.note):
        session = products_of(settings, request)
        show_rounds(run_rounds(session, warnings), quiet=flags.quiet)
    report = products_timed(record_of(study), session, settings, warnings)
    output.emit_report(report, target, quiet=flags.quiet)
    if flags.plot is not None:
        from relubench.reports.plots.sparse_products import plot_zeros

        plot_zeros(report, flags.plot)
