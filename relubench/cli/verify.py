"""`relubench verify`: are the values and gradients of an activation right, pattern by pattern?"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import options, output
from relubench.errors import WARNING, ComputeError, RelubenchError, UsageError
from relubench.reports.formatting import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relubench.activations import ActivationChoice
    from relubench.reports.report import Row

CHECKED = "What is checked"

Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=options.completion.acts,
        rich_help_panel=CHECKED,
        help="An activation to check, as in `relubench train`; a formula or your own is compared with itself in "
        "float64, its slopes with differences of its values. Default: all of the table.",
    ),
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="fp32|fp16|bf16",
        rich_help_panel=CHECKED,
        help="The type of the values; several split at commas. Default: fp32,fp16,bf16.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME",
        autocompletion=options.completion.acts,
        rich_help_panel=CHECKED,
        help="Compare a formula or your own with this activation in float64: is it the same function, and as accurate? "
        "Default: with itself.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", rich_help_panel=CHECKED, help="Check what torch.compile makes, too. Default: off."),
]


def verify(
    act: Act = None,
    dtype: Dtype = None,
    against: Against = None,
    compile_: Compile = False,
    device: options.Device = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare the values and gradients of every activation with the true function; exit 1 where something is wrong."""
    target = output.choose(format, output_file)
    from relubench.activations import select
    from relubench.system.device import check_torch_loads, resolve
    from relubench.system.processes import working_folder_exists
    from relubench.timing.request import DTYPES, check_compiler, check_names

    where = resolve(device or "cpu")
    check_torch_loads()
    if where.kind != "cpu":
        raise UsageError(f"verify checks the processor's kernels, not {where.kind}'s", "leave --device out")
    if not working_folder_exists():
        os.chdir(os.sep)  # torch asks where it is while it follows a computation.
    # What a user's code prints must not come between the rows.
    with contextlib.redirect_stdout(sys.stderr):
        choices = select(act or ["all"])
        other = _other(against, choices)
        dtypes = check_names("--dtype", dtype or list(DTYPES), tuple(DTYPES))
        if compile_:
            check_compiler(where)
        output.check_stdout(target)
        rows = _rows(choices, dtypes, other, compile_, quiet)
    from relubench.reports.verification import verification_report

    report = verification_report(rows, device=where.name, torch=where.torch, compiled=compile_)
    output.emit_report(report, target)
    if not target.for_people and not quiet:
        output.say(report.sentence)
    _conclude([row["outcome"] for row in rows])


def _conclude(outcomes: Sequence[str]) -> None:
    """Raises ComputeError where a check found something wrong, or none could be made; a warning for those that failed.

    What could not be computed is neither right nor wrong.
    """
    wrong, failed = outcomes.count("wrong"), outcomes.count("failed")
    not_made = f"{failed} of {count(len(outcomes), 'check')} could not be made"
    if wrong:
        apart = f"; {not_made}" if failed else ""
        raise ComputeError(
            f"{wrong} of {count(len(outcomes), 'check')} found something wrong{apart}",
            "the table says what, where, and what is true there",
        )
    if failed == len(outcomes):
        raise ComputeError(f"none of {count(failed, 'check')} could be made", "the table says why")
    if failed:
        output.say(f"{WARNING}{not_made}: what failed there is neither right nor wrong, and the table says why")


def _other(against: str | None, choices: Sequence[ActivationChoice]) -> ActivationChoice | None:
    from relubench.activations import select

    if against is None:
        return None
    others = select([against])
    if len(others) > 1:
        raise UsageError(f"--against {against} names several activations", "name one")
    for one in (*choices, *others):
        if one.columns > 1:
            raise UsageError(
                f"--against compares functions of one variable, and {one.label} has {one.columns}", "leave it out"
            )
    return others[0]


def _rows(
    choices: Sequence[ActivationChoice],
    dtypes: Sequence[str],
    against: ActivationChoice | None,
    compiled: bool,
    quiet: bool,
) -> list[Row]:
    import torch

    from relubench.verification.check import VerifyRow, check

    torch.set_num_threads(1)
    # Subnormal numbers are among those checked.
    torch.set_flush_denormal(False)
    rows: list[Row] = []
    for choice in choices:
        for dtype in dtypes:
            if not quiet and sys.stderr.isatty():
                sys.stderr.write(f"\r{choice.label} {dtype}".ljust(78))
                sys.stderr.flush()
            try:
                rows += [row.to_json() for row in check(choice, dtype, compiled=compiled, against=against)]
            except Exception as problem:
                why = (
                    f"{problem.message}; {problem.hint}"
                    if isinstance(problem, RelubenchError)
                    else f"{type(problem).__name__}: {problem}"
                )
                row = VerifyRow(
                    activation=choice.label,
                    dtype=dtype,
                    pass_="forward",
                    points=0,
                    forms="",
                    outcome="failed",
                    message=why,
                )
                rows.append(row.to_json())
    if not quiet and sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 78 + "\r")
    return rows
