"""`relubench runs`: what the run store holds, one run of it, and how to be rid of them. Imports no torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import options, output
from relubench.errors import UsageError
from relubench.runs.run_ids import find_run

if TYPE_CHECKING:
    from relubench.runs.store import Store

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking. Default: ask, and refuse in a pipe.")]

runs = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    help="List the stored runs, show one of them, or delete some.",
)


@runs.callback()
def list_runs(
    ctx: typer.Context,
    runs_dir: options.RunsDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """List the stored runs, the newest last; unfinished ones have the outcome `unfinished`."""
    if ctx.invoked_subcommand is not None:
        _refuse_before_command(ctx)
        return
    from relubench.reports.stored_runs import runs_report

    target = output.choose(format, output_file)
    store = _store(runs_dir)
    report = runs_report(store, readable_cells=target.format == "table")
    if not report.rows:
        output.say(f"there are no runs in {store.root}")
    output.emit_report(report, target)


@runs.command()
def show(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or as much of its beginning as is unique.")],
    runs_dir: options.RunsDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """Show a run's settings and learning curve: the same as `relubench show run ID --format FMT`.

    JSON holds all of it; tsv, csv and jsonl hold the curve.
    """
    show_record(run, runs_dir, output.choose(format, output_file))


def show_record(run: str, runs_dir: Path | None, target: output.Target) -> None:
    """Print the settings and the learning curve of the stored run whose id begins so."""
    from relubench.reports.stored_runs import layers_of, run_report

    store = _store(runs_dir)
    result = store.result(find_run(run, store.ids()))
    assert result is not None
    timing = store.timing(result.id)
    if target.format == "json":
        everything = {
            **result.to_json(),
            "timing": timing.to_json() if timing else None,
            "folder": str(store.folder(result.id)),
            "layers": [layer.to_json() for layer in layers_of(store, result)],
        }
        output.emit(json.dumps(everything, indent=1, allow_nan=False), target)
        return
    output.emit_report(run_report(store, result, timing), target)


@runs.command()
def delete(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The runs to delete.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Delete all runs and pre-trained layers, finished or not. Default: off.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Delete the checkpoints of unfinished runs. Default: off.")
    ] = False,
    yes: Yes = False,
    runs_dir: options.RunsDir = None,
) -> None:
    """Delete runs from the store: the ones named, all, or the unfinished ones."""
    if sum([bool(ids), all_, unfinished]) != 1:
        raise UsageError("runs delete needs one of ID..., --all and --unfinished", "`relubench runs` lists the ids")
    store = _store(runs_dir)
    stored = [*store.ids(), *store.unfinished()]
    named = [find_run(start, stored) for start in ids or []]
    run_ids = list(dict.fromkeys(stored if all_ else store.unfinished() if unfinished else named))
    if not run_ids:
        output.say(f"there is nothing to delete in {store.root}")
        return
    if not yes and not _confirmed(len(run_ids), store.root):
        output.say("nothing was deleted")
        return
    for run in run_ids:
        store.delete(run)
    if all_:
        store.delete_stacks()
    output.say(f"deleted {len(run_ids)} run{'s' * (len(run_ids) > 1)} from {store.root}")


def _store(runs_dir: Path | None) -> Store:
    from relubench.runs.store import Store
    from relubench.system.paths import runs_root

    return Store(runs_root(runs_dir))


def _refuse_before_command(ctx: typer.Context) -> None:
    """`runs --format json show ID` would otherwise ignore its flag."""
    names = [name for name, value in ctx.params.items() if value is not None]
    if names:
        flag = {"output_file": "--output"}.get(names[0], "--" + names[0].replace("_", "-"))
        command = f"relubench runs {ctx.invoked_subcommand}"
        raise UsageError(f"{flag} stands before `{ctx.invoked_subcommand}`", f"put it behind: {command} ... {flag}")


def _confirmed(num_runs: int, root: Path) -> bool:
    """Whether the person at the terminal says yes; raises UsageError where nobody can be asked."""
    question = f"delete {num_runs} run{'s' * (num_runs > 1)} from {root}?"
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"not asked, so not done: {question.removesuffix('?')}", "add --yes to delete without asking")
    return typer.confirm(question, err=True)
