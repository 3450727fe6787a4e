"""`relubench report`: saved results as one page. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options
from relubench.errors import UsageError

Page = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE.html",
        callback=options.expanded,
        rich_help_panel=options.RESULT,
        help="Write the page to this file, whole or not at all: HTML, or with the suffix .md Markdown.",
    ),
]


def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="A.json B.json...",
            callback=options.all_expanded,
            help="Results of `--format json`; each is a part of the page.",
        ),
    ],
    output_file: Page = None,
    plot: options.Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Make a page of saved results: answers, tables, figures and settings in one file that needs no network.

    Nothing is trained. The commands that train or time write the same page with --report.
    """
    if output_file is None and plot is None:
        raise UsageError("report needs to know which file to write", "for example --output report.html")
    from relubench.cli import output, pages
    from relubench.reports.page.saved_result import read_report

    pages.check_page(output_file, "--output")
    output.check_plot(plot)
    if plot is not None and len(files) > 1:
        raise UsageError(f"--plot draws one result, got {len(files)}", "give one file, or --output report.html")
    reports = [read_report(path) for path in files]
    if output_file is not None:
        pages.write_page(reports, output_file, quiet=quiet, option="--output")
    pages.write_files(reports[0], plot, None, quiet=quiet)
