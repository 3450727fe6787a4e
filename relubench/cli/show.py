"""`relubench show`: pictures of what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import options, output
from relubench.cli.runs import find_run
from relubench.errors import UsageError

show = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    help="Draw what is stored.",
)


@show.callback()
def _group() -> None:
    """Draw what is stored."""


@show.command("run")
def run_(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or as much of its beginning as is unique.")],
    folder: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="The folder that the PNG files go to. Default: this one.")
    ] = Path(),
    runs_dir: options.RunsDir = None,
) -> None:
    """Draw the first layer of a run as PNG: its filters, and reconstructions of images if it was pre-trained.

    stdout has the names of the files.
    """
    if not folder.is_dir():
        raise UsageError(f"--output {folder} is no folder", f"make it first: mkdir -p {folder}")
    from relubench.gallery import draw_run
    from relubench.places import runs_root
    from relubench.store import Store

    store = Store(runs_root(runs_dir))
    files = draw_run(store, find_run(run, store.ids()), folder)
    output.emit("\n".join(str(one) for one in files), output.Target(format="tsv"))
