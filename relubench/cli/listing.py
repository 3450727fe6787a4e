"""`relubench list KIND`: what can be named on the command line. Imports no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from relubench.cli import completion, options, output
from relubench.errors import UsageError
from relubench.system.lookup import find


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="What to list: activations, functions, datasets, models, presets, references, formats, columns or "
            "figures.",
            autocompletion=completion.lists,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """List what can be named: activations, functions (of formulas), datasets, models, presets, references, formats.

    `list columns` says what the columns of a table mean. The name comes first.
    """
    from relubench.reports.listings import LISTS, list_report

    if kind is None:
        raise UsageError("list needs to know what to list", f"`relubench list KIND`: {', '.join(LISTS)}")
    find(kind, LISTS, kind="list", see=f"lists are {', '.join(LISTS)}")
    if data_dir is not None and kind != "datasets":
        raise UsageError(f"--data-dir means nothing to the {kind}", "it belongs to `relubench list datasets`")
    target = output.choose(format, output_file)
    output.emit_report(list_report(kind, data_dir), target)
