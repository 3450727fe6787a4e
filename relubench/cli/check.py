"""`relubench check`: the numbers of a saved table derived again; what another table can bear. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.errors import EXIT_COMPUTE, UsageError


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.json", callback=options.expanded, help="A result of `--format json`.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="FILE.csv",
            callback=options.expanded,
            help="Somebody else's table, with the columns name, mean, std and n: print which differences it can bear.",
        ),
    ] = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Derive every number of a saved table again, and print the numbers that disagree.

    Errors are derived from the runs' test results, intervals, p values and verdicts from the runs, and the runs' ids
    from their settings. The exit code is 1 where a number disagrees. With --table the rows of another's table are
    compared with its first row: intervals, adjusted p values, and the smallest difference that could have been seen.
    """
    if (file is None) == (table is None):
        raise UsageError("check needs one file: FILE.json or --table FILE.csv", "relubench check result.json")
    target = output.choose(format, output_file)
    if table is not None:
        from relubench.reports.published_table import published_report

        output.emit_report(published_report(table), target, quiet=quiet)
        return
    assert file is not None
    if file.suffix.lower() in (".csv", ".tsv"):
        raise UsageError(f"{file} is no result in JSON", f"another's table: relubench check --table {file}")
    _check_result(file, target, quiet)


def _check_result(file: Path, target: output.Target, quiet: bool) -> None:
    """Print what disagrees in a result; raises Exit with code 1 where anything does."""
    from relubench.reports.audit import audit

    report = audit(file)
    if report.rows or not target.human_readable:
        output.emit_report(report, target, quiet=quiet or not report.rows)
    if not quiet and not report.rows:
        output.say("\n".join([*report.note_texts, report.sentence]))
    if report.rows:
        raise typer.Exit(EXIT_COMPUTE)
