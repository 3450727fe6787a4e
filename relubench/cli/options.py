"""The flags that several commands share and that set no field of the configuration, as the types of parameters.

Those that set a field are in `flag_table.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import completion
from relubench.system.paths import user_path

TRAINING, NETWORK, PRETRAINING, RESULT = "Training", "Network and data", "Pre-training", "Result and files"
MACHINES = "Other machines"
"""Headings of the help."""


def expanded(path: Path | None) -> Path | None:
    """The path of a flag with ~ replaced: a shell does it for --runs-dir ~/x, and not for --runs-dir=~/x."""
    return user_path(path) if path is not None else None


def all_expanded(paths: list[Path]) -> list[Path]:
    """The paths of an argument that takes several, each with ~ replaced."""
    return [user_path(path) for path in paths]


Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        rich_help_panel=TRAINING,
        help="Set any key of the configuration, for example train.l1=0.001; give it several times. What contradicts a "
        "flag is refused.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        callback=expanded,
        rich_help_panel=RESULT,
        help="A folder that holds data sets. Default: RELUBENCH_DATA_DIR, then the cache folder.",
    ),
]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        callback=expanded,
        rich_help_panel=RESULT,
        help="The folder of stored runs. Default: RELUBENCH_RUNS_DIR, else the platform's folder for user data.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        rich_help_panel=RESULT,
        help="Train every run again, also those that are stored. Default: stored runs are used.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FMT",
        autocompletion=completion.formats,
        rich_help_panel=RESULT,
        help="The format of the result: table, tsv, csv, json, jsonl, parquet, markdown or latex. Default: table on a "
        "terminal, tsv into a pipe.",
    ),
]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        callback=expanded,
        rich_help_panel=RESULT,
        help="Write the result to this file, whole or not at all; without --format its suffix says the format (.json "
        ".jsonl .csv .tsv .parquet .md .tex .txt). Default: stdout.",
    ),
]
Caption = Annotated[
    str | None,
    typer.Option(
        "--caption",
        metavar="TEXT",
        rich_help_panel=RESULT,
        help="What stands over the table, in LaTeX as its caption. Default: data set, network, protocol and seeds.",
    ),
]
CheckedExecutor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="ray|slurm",
        rich_help_panel=MACHINES,
        help="Check the machines of this executor, too: what is there, and what is missing. Default: this machine.",
    ),
]
CheckedAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        rich_help_panel=MACHINES,
        help="The Ray cluster to check. Default: RAY_ADDRESS, else a Ray that starts here.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel=RESULT,
        help="Show no progress on stderr. Errors and warnings are still shown, and so is that another process has to "
        "end first. Default: off.",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        callback=expanded,
        rich_help_panel=RESULT,
        help="Write a page of the result: one HTML file with the answer, the table, figures and settings, which needs "
        "no network; with the suffix .md the same in Markdown. Default: no page.",
    ),
]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="PLACE",
        rich_help_panel=RESULT,
        help="Write curves, final numbers and settings of every run to tensorboard:DIR or mlflow:URI: the curve in "
        "TensorBoard after each epoch, all else at the end; a run that is there already is left alone. Give it several "
        "times. Default: no log.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        callback=expanded,
        rich_help_panel=RESULT,
        help="Draw the figure of this command or preset into this file (.png, .pdf or .svg): by default learning "
        "curves, with --probe gradients the norms of the gradient by layer. Default: no plot.",
    ),
]
