"""`relubench compare`: two machines, two versions, before and after. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.errors import EXIT_REGRESSION, UsageError

FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="higher|lower|any[:POINTS]",
        help="End with exit code 4 where an error is higher (or lower, or either) beyond noise, by more than so many "
        "percentage points. Default: no gate.",
    ),
]


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="A.json B.json...",
            callback=options.all_expanded,
            help="Results of `--format json`; the first is what is compared with.",
        ),
    ],
    format: options.Format = None,
    output_file: options.OutputFile = None,
    quiet: options.Quiet = False,
    fail_on: FailOn = None,
) -> None:
    """Compare saved results row by row: errors, times, and whether the difference is more than noise.

    Rows match by activation, data set, model, pre-training, L1, variant and test noise. Runs that are the same bit for
    bit are identical. With --fail-on the comparison is a gate for pipelines: a regression is exit code 4, and what
    could not be seen is called inconclusive.
    """
    if len(files) < 2:
        raise UsageError(f"compare needs two files or more, got {len(files)}", "relubench compare A.json B.json")
    target = output.choose(format, output_file)
    from relubench.reports.comparison import compare as compared
    from relubench.reports.gate import gated, has_regression
    from relubench.reports.saved import read_table
    from relubench.statistics.gate import parse_gate

    gate = None if fail_on is None else parse_gate(fail_on)
    tables = [read_table(path) for path in files]
    report = compared(tables)
    report = report if gate is None else gated(report, tables, gate)
    output.emit_report(report, target, quiet=quiet)
    if gate is not None and has_regression(report):
        raise typer.Exit(EXIT_REGRESSION)
