"""`relubench runs`: what the run store holds, one run of it, and how to be rid of them. Imports no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output
from relubench.errors import RelubenchError, UsageError
from relubench.reports.formatting import folder_size, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relubench.runs.result import PretrainedLayer, RunResult, Timing
    from relubench.runs.store import Store

Row = dict[str, Any]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking. Default: ask, and refuse in a pipe.")]

LEAVING = ("pretraining", "l1", "size", "time", "epochs", "batch size", "optimizer", "date", "lr", "model")
"""What a narrow terminal can do without."""

OF_SPEC = ("activation", "pretraining", "dataset", "model", "seed", "optimizer", "lr", "l1", "batch_size")
"""What a run's row shows of its specification."""

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
    target = output.choose(format, output_file)
    store = _store(runs_dir)
    rows = [_summary(store, run) for run in store.ids()] + [_unfinished(store, run) for run in store.unfinished()]
    if not rows:
        output.say(f"there are no runs in {store.root}")
    rows.sort(key=lambda row: (row["date"] or "", row["id"]))
    if target.format == "table":
        rows = [_for_people(row) for row in rows]
    output.emit_listings([output.Listing(rows=rows, title=f"runs in {store.root}", leaving=LEAVING)], "runs", target)


@runs.command()
def show(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or as much of its beginning as is unique.")],
    runs_dir: options.RunsDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """Show a run's settings and learning curve. JSON holds all of it; tsv, csv and jsonl hold the curve."""
    target = output.choose(format, output_file)
    store = _store(runs_dir)
    result = store.result(find_run(run, store.ids()))
    assert result is not None
    timing = store.timing(result.id)
    if target.format == "json":
        everything = {
            **result.to_json(),
            "timing": timing.to_json() if timing else None,
            "folder": str(store.folder(result.id)),
            "layers": [layer.to_json() for layer in _layers(store, result)],
        }
        output.emit(json.dumps(everything, indent=1, allow_nan=False), target)
        return
    curve = [_rounded(asdict(point)) for point in result.curve]
    listings = [output.Listing(rows=curve, title=f"learning curve of {result.id}")]
    if target.for_people:
        listings += [*_layer_curves(_layers(store, result)), *_looks(result)]
        listings.insert(0, output.Listing(rows=_settings(store, result, timing), title=f"run {result.id}"))
    output.emit_listings(listings, "runs show", target)


@runs.command()
def delete(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The runs to delete.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Delete all runs and pre-trained layers, finished or not. Default: off.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Delete the checkpoints of unfinished runs. Default: off.")
    ] = False,
    yes: Yes = False,
    runs_dir: options.RunsDir = None,
) -> None:
    """Delete runs from the store: the ones named, all, or the unfinished ones."""
    if sum([bool(ids), every, unfinished]) != 1:
        raise UsageError("runs delete needs one of ID..., --all and --unfinished", "`relubench runs` lists the ids")
    store = _store(runs_dir)
    known = [*store.ids(), *store.unfinished()]
    doomed = known if every else store.unfinished() if unfinished else [find_run(one, known) for one in ids or []]
    doomed = list(dict.fromkeys(doomed))
    if not doomed:
        output.say(f"there is nothing to delete in {store.root}")
        return
    if not yes and not _confirmed(len(doomed), store.root):
        output.say("nothing was deleted")
        return
    for run in doomed:
        store.delete(run)
    if every:
        store.delete_stacks()
    output.say(f"deleted {len(doomed)} run{'s' * (len(doomed) > 1)} from {store.root}")


def _store(runs_dir: Path | None) -> Store:
    from relubench.runs.store import Store
    from relubench.system.paths import runs_root

    return Store(runs_root(runs_dir))


def _refuse_before_command(ctx: typer.Context) -> None:
    """`runs --format json show ID` would otherwise ignore its flag."""
    given = [name for name, value in ctx.params.items() if value is not None]
    if given:
        flag = {"output_file": "--output"}.get(given[0], "--" + given[0].replace("_", "-"))
        command = f"relubench runs {ctx.invoked_subcommand}"
        raise UsageError(f"{flag} stands before `{ctx.invoked_subcommand}`", f"put it behind: {command} ... {flag}")


def find_run(start: str, known: list[str]) -> str:
    """The one id that begins with `start`."""
    matching = [one for one in known if one.startswith(start)] if start else []
    if start in known:
        return start
    if len(matching) > 1:
        few = ", ".join(matching[:4]) + (", ..." if len(matching) > 4 else "")
        raise UsageError(f"{len(matching)} runs begin with {start!r}", f"give more of the id: {few}")
    if not matching:
        raise UsageError(f"there is no run {start!r}", "`relubench runs` lists the ids; --runs-dir says where")
    return matching[0]


def _confirmed(count: int, root: Path) -> bool:
    question = f"delete {count} run{'s' * (count > 1)} from {root}?"
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"not asked, so not done: {question.removesuffix('?')}", "add --yes to delete without asking")
    return typer.confirm(question, err=True)


def _summary(store: Store, run: str) -> Row:
    """One finished run; a record that cannot be read is listed as such, so that it can be deleted."""
    size = folder_size(store.folder(run))
    try:
        result = store.result(run)
    except (RelubenchError, OSError):
        result = None
    if result is None:
        return _row(run, outcome="unreadable", size_bytes=size)
    timing = store.timing(run)
    row = _row(run, outcome=result.outcome, size_bytes=size)
    row |= _of_spec(result.spec)
    row |= {"epochs": result.epochs, "test_error_pct": result.test_error_pct}
    return _rounded(row) | {
        "seconds": round(timing.seconds, 3) if timing else None,
        "date": timing.finished if timing else None,
    }


def _unfinished(store: Store, run: str) -> Row:
    checkpoint = store.checkpoint(run)
    row = _row(run, outcome="unfinished", size_bytes=folder_size(checkpoint.parent))
    row |= _common([_of_spec(spec) for spec in store.unfinished_specs(run)])
    try:
        changed = datetime.fromtimestamp(checkpoint.stat().st_mtime, tz=UTC)
    except OSError:
        return row
    return row | {"date": changed.isoformat(timespec="seconds")}


def _of_spec(spec: Row) -> Row:
    """What a run's row shows of its specification."""
    row = {key: spec.get(key) for key in OF_SPEC}
    return row | {"pretraining": row["pretraining"] or "none", "l1": spec.get("l1_asked", row["l1"])}


def _common(rows: Sequence[Row]) -> Row:
    """What rows have in common: networks that are trained together differ in seeds, say."""
    if not rows:
        return {}
    return {key: value if all(row[key] == value for row in rows) else None for key, value in rows[0].items()}


def _rounded(row: Row) -> Row:
    """The row with its percentages in as many digits as a table of `train` gives: 3.68 is not 3.6799999999999997."""
    return {
        key: round(value, 6) if key.endswith("_pct") and isinstance(value, float) else value
        for key, value in row.items()
    }


def _row(run: str, *, outcome: str, size_bytes: int) -> Row:
    keys = (*OF_SPEC, "epochs")
    tail = {"test_error_pct": None, "seconds": None, "date": None, "size_bytes": size_bytes}
    return {"id": run, **dict.fromkeys(keys), "outcome": outcome, **tail}


def _for_people(row: Row) -> Row:
    """The row as a table shows it: errors, sizes and times that are read at a glance."""
    from relubench.reports.formatting import duration, fixed

    date = (row["date"] or "")[:16].replace("T", " ")
    shown = {"test_error_pct": fixed(row["test_error_pct"]), "date": date}
    shown |= {"seconds": duration(row["seconds"]), "size_bytes": readable(row["size_bytes"])}
    names = {"test_error_pct": "error %", "batch_size": "batch size", "seconds": "time", "size_bytes": "size"}
    return {names.get(key, key): shown.get(key, value) for key, value in row.items()}


def _settings(store: Store, result: RunResult, timing: Timing | None) -> list[Row]:
    """Everything about a run that is one value, a row each."""
    facts: Row = {**result.spec, "id": result.id, "outcome": result.outcome, "message": result.message or None}
    facts |= {"path": result.path, "epochs_trained": result.epochs, "best_epoch": result.best_epoch}
    facts |= {"valid_error_pct": result.valid_error_pct, "test_error_pct": result.test_error_pct}
    facts |= {"test_examples": result.test_examples, "sparsity_pct": result.sparsity_pct}
    facts |= {"near_zeros_pct": result.near_zeros_pct, "dead_units_pct": result.dead_units_pct}
    if timing is not None:
        facts |= {"seconds": timing.seconds, "images_per_second": timing.images_per_second}
        facts |= {"host": timing.host, "finished": timing.finished, "interruptions": timing.interruptions}
    facts |= {f"version of {name}": version for name, version in result.versions.items()}
    facts |= {"folder": str(store.folder(result.id)), "size": readable(folder_size(store.folder(result.id)))}
    return [{"name": name, "value": _plain(value)} for name, value in _rounded(facts).items() if value is not None]


def _layers(store: Store, result: RunResult) -> list[PretrainedLayer]:
    """The pre-trained layers that the run started from, as far as they are stored; none for a run without."""
    if not result.spec.get("stack"):
        return []
    from relubench.runs.layer_id import layer_id
    from relubench.runs.spec import RunSpec

    spec = RunSpec.from_json(result.spec)
    assert spec.stack is not None
    found = [store.layer(layer_id(spec, layer)) for layer in range(spec.stack.layers)]
    return [layer for layer in found if layer is not None]


def _layer_curves(layers: Sequence[PretrainedLayer]) -> list[output.Listing]:
    """Reconstruction errors, and free energies where there are any, of each layer by epoch."""
    listings = []
    for layer in layers:
        points = [asdict(point) for point in layer.curve]
        told = {key for point in points for key, value in point.items() if value is not None}
        rows = [{key: value for key, value in point.items() if key in told} for point in points]
        title = f"pre-training of layer {layer.layer}, {layer.units} units: mean squared reconstruction errors"
        title += ", free energies in nats" if "train_free_energy" in told else ""
        listings += [output.Listing(rows=rows, title=f"{title}{f' ({layer.message})' if layer.message else ''}")]
    return [listing for listing in listings if listing.rows]


def _looks(result: RunResult) -> list[output.Listing]:
    """What the probes saw, by epoch and layer, and the dead units; nothing for a run without."""
    looks = [{key: value for key, value in asdict(one).items() if key != "quantiles"} for one in result.probes]
    told = {key for one in looks for key, value in one.items() if value is not None}
    looks = [{key: value for key, value in one.items() if key in told} for one in looks]
    regions = [{"epoch": one.epoch, "linear_pieces": one.lines} for one in result.regions]
    tables = [
        (looks, "hidden layers on the probe images", ("idle_columns", "variance", "mean", "cut_off")),
        ([asdict(one) for one in result.dead_units], "dead units on the training set, after the last epoch", ()),
        (regions, "linear pieces along lines between images", ()),
    ]
    return [output.Listing(rows=rows, title=title, leaving=leaving) for rows, title, leaving in tables if rows]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items() if one not in ("", [], None))
    return "x".join(str(one) for one in value) if isinstance(value, (list, tuple)) else value
