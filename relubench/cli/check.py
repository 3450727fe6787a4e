"""`relubench check`: whether the numbers of a saved table follow from its runs. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.errors import EXIT_COMPUTE
from relubench.system.paths import user_path


def check(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.json", callback=user_path, help="A result of `--format json`."),
    ],
    format: options.Format = None,
    output_file: options.OutputFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Derive every number of a saved table again, and print the numbers that disagree.

    Errors are derived from the runs' test results, intervals, p values and verdicts from the runs, and the runs' ids
    from their settings. The exit code is 1 where a number disagrees.
    """
    target = output.choose(format, output_file)
    from relubench.reports.audit import audit

    report = audit(file)
    if report.rows or not target.for_people:
        output.emit_report(report, target)
    if not quiet and not (report.rows and target.for_people):
        output.say("\n".join([*report.footnotes, report.sentence]) if not report.rows else report.sentence)
    if report.rows:
        raise typer.Exit(EXIT_COMPUTE)
