"""`relubench compare`: two machines, two versions, before and after. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.errors import UsageError
from relubench.version import __version__


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
) -> None:
    """Compare saved results row by row: errors, times, and whether the difference is more than noise.

    Rows match by activation, data set, model, pre-training, L1, variant and test noise. Runs that are the same bit for
    bit are identical.
    """
    if len(files) < 2:
        raise UsageError(f"compare needs two files or more, got {len(files)}", "relubench compare A.json B.json")
    target = output.choose(format, output_file)
    from relubench.reports.comparison import compare as compared
    from relubench.reports.saved import read_table

    report = compared([read_table(path) for path in files], __version__)
    output.emit_report(report, target)
    if not target.for_people and not quiet:
        output.say(report.sentence)
