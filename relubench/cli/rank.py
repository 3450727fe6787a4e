"""`relubench rank`: one ranking over several data sets and networks, from saved results. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output, pages


def rank(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="A.json [B.json...]",
            callback=options.all_expanded,
            help="Results of `--format json`, of several data sets or networks together.",
        ),
    ],
    format: options.Format = None,
    output_file: options.OutputFile = None,
    plot: options.Plot = None,
    page: options.ReportFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Rank activations over data sets and networks: mean ranks, the probability of improvement, interquartile means.

    Each value has an interval from a bootstrap over seeds, and mean ranks have their critical difference. Only
    activations that every data set and network has are ranked.
    """
    target = output.choose(format, output_file)
    output.check_plot(plot)
    pages.check_page(page)
    from relubench.reports.ranking import ranking_report, sets_of
    from relubench.reports.saved import read_table

    report = pages.finished(ranking_report(sets_of([read_table(path) for path in files])))
    output.emit_report(report, target, quiet=quiet)
    pages.write_files(report, plot, page, quiet=quiet)
