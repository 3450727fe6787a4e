"""`relubench verify`: are the values and gradients of an activation right, pattern by pattern?"""

from __future__ import annotations

import contextlib
import os
import sys
from itertools import product
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import completion, options, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.errors import WARNING, ComputeError, UsageError
from relubench.reports.formatting import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relubench.activations import ActivationChoice
    from relubench.reports.report import Row
    from relubench.system.device import Device

CHECKED = "What is checked"

Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=completion.acts,
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
        autocompletion=completion.acts,
        rich_help_panel=CHECKED,
        help="Compare a formula or your own with this activation in float64: is it the same function, and as accurate? "
        "Default: with itself.",
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", rich_help_panel=CHECKED, help="Check what torch.compile makes, too. Default: off.")
]


OFFERED = offer("--act", "--dtype", "--against", "--compile", "device")


def verify(
    config: Annotated[ConfigFlags, OFFERED],
    act: Act = None,
    dtype: Dtype = None,
    against: Against = None,
    compile_: Compile = False,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare the values and gradients of every activation with the true function; exit 1 where something is wrong."""
    target = output.choose(format, output_file)
    device = _processor(config.text("--device"))
    # What a user's code prints must not come between the rows.
    with contextlib.redirect_stdout(sys.stderr):
        from relubench.activations import select
        from relubench.experiments.checks import reference_choice
        from relubench.timing.request import DTYPES, check_compiler, check_names

        choices = select(act or ["all"])
        reference = None if against is None else reference_choice(against, choices)
        dtypes = check_names("--dtype", dtype or list(DTYPES), tuple(DTYPES))
        if compile_:
            check_compiler(device)
        output.check_stdout(target)
        rows = _rows(choices, dtypes, reference, compile_, quiet)
    from relubench.reports.verification import verification_report

    report = verification_report(rows, device=device.name, torch=device.torch, compiled=compile_)
    output.emit_report(report, target, quiet=quiet)
    _conclude(rows)


def _processor(name: str | None) -> Device:
    """The processor, once torch is known to load; raises UsageError for another device."""
    from relubench.system.device import check_torch_loads, resolve
    from relubench.system.processes import working_folder_exists

    device = resolve(name or "cpu")
    check_torch_loads()
    if not device.is_processor:
        raise UsageError(f"verify checks the processor's kernels, not {device.kind}'s", "leave --device out")
    if not working_folder_exists():
        os.chdir(os.sep)  # torch asks where it is while it follows a computation.
    return device


def _conclude(rows: Sequence[Row]) -> None:
    """Raises ComputeError where something is wrong or overflows, or a pass failed in every type; warns of failures.

    What could not be computed in one type is neither right nor wrong: PyTorch lacks some kernels for 16 bits.
    """
    # Late: a help needs no numpy.
    from relubench.reports.verification import OVERFLOWS

    outcomes = [row["outcome"] for row in rows]
    num_wrong, num_failed, num_overflows = (outcomes.count(outcome) for outcome in ("wrong", "failed", OVERFLOWS))
    num_checks = count(len(outcomes), "check")
    not_computed = f"{num_failed} of {num_checks} could not be made"
    if num_wrong or num_overflows:
        wrong = f"{num_wrong} of {num_checks} found something wrong" if num_wrong else ""
        overflow = f"{num_overflows} of {num_checks} overflow{'s' * (num_overflows == 1)}" if num_overflows else ""
        raise ComputeError(
            "; ".join(part for part in (wrong, overflow, not_computed * bool(num_failed)) if part),
            "the table says what, where, and what is true there",
        )
    if num_failed == len(outcomes):
        raise ComputeError(f"none of {count(num_failed, 'check')} could be made", "the table says why")
    failed_passes = _failed_passes(rows)
    if failed_passes:
        raise ComputeError(f"{' and '.join(failed_passes)} could be computed in no type", "the table says why")
    if num_failed:
        output.say(f"{WARNING}{not_computed}: what failed there is neither right nor wrong, and the table says why")


def _failed_passes(rows: Sequence[Row]) -> list[str]:
    """The passes of activations that failed in every type, in words."""
    outcomes: dict[str, set[str]] = {}
    for row in rows:
        outcomes.setdefault(f"the {row['pass']} pass of {row['activation']}", set()).add(row["outcome"])
    return [name for name, outcomes_by_type in outcomes.items() if outcomes_by_type == {"failed"}]


def _rows(
    choices: Sequence[ActivationChoice],
    dtypes: Sequence[str],
    against: ActivationChoice | None,
    compiled: bool,
    quiet: bool,
) -> list[Row]:
    """The rows of every activation in every type; a terminal shows which is being checked."""
    from relubench.experiments.checks import check_rows

    rows: list[Row] = []
    is_shown = not quiet and sys.stderr.isatty()
    for choice, dtype in product(choices, dtypes):
        if is_shown:
            sys.stderr.write(f"\r{choice.label} {dtype}".ljust(78))
            sys.stderr.flush()
        rows += [row.to_json() for row in check_rows([choice], [dtype], compiled=compiled, against=against)]
    if is_shown:
        sys.stderr.write("\r" + " " * 78 + "\r")
    return rows
