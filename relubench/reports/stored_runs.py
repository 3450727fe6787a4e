"""What `relubench runs` shows of stored runs: a row for each, and the settings, layers and probes of one. No torch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relubench.errors import RelubenchError
from relubench.reports.formatting import duration, fixed, folder_size, readable
from relubench.reports.report import Report, Row, listing
from relubench.reports.scores import NUMBER_DECIMALS
from relubench.runs.index import indexed_rows
from relubench.runs.task import CLASSIFICATION, TASKS

if TYPE_CHECKING:
    from relubench.runs.result import PretrainedLayer, RunResult, Timing
    from relubench.runs.store import Store

OF_SPEC = ("activation", "pretraining", "dataset", "model", "seed", "optimizer", "lr", "l1", "batch_size")
"""What a run's row shows of its specification."""
OF_TASK = ("task", "metric", "test_metric")
"""What a run's row says of its task, and its score in the unit of the task's metric."""

DROP_ORDER = ("pretraining", "l1", "size", "time", "epochs", "batch size", "optimizer", "date", "lr", "model")
DROP_ORDER += ("seed", "dataset", "outcome")
"""Columns that a narrow terminal does without, first to last."""


def runs_report(store: Store, *, readable_cells: bool) -> Report:
    """A row for each run of the store, the newest last; `readable_cells`: with errors and times read at a glance."""
    rows = indexed_rows(store, lambda run_id: _finished_row(store, run_id))
    sent = _sent_rows(store)
    rows += [_unfinished_row(store, run_id) for run_id in store.unfinished() if run_id not in sent]
    rows += sent.values()
    rows.sort(key=lambda row: (row["date"] or "", row["id"]))
    human_rows = _human_readable(rows) if readable_cells else None
    return listing("runs", rows, title=f"runs in {store.root}", human_rows=human_rows, drop_order=DROP_ORDER)


def run_report(store: Store, result: RunResult, timing: Timing | None) -> Report:
    """The learning curve of a run; people read its settings before, its layers and probes behind it."""
    curve = listing(
        "runs show", [_rounded(point.to_json()) for point in result.curve], title=f"learning curve of {result.id}"
    )
    settings = listing("runs show", _setting_rows(store, result, timing), title=f"run {result.id}")
    tables = [settings, curve, *_layer_curves(layers_of(store, result)), *_probe_tables(result)]
    return replace(curve, tables=tables)


def _finished_row(store: Store, run: str) -> Row:
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
    row |= _score_of(result)
    return _rounded(row) | {
        "seconds": round(timing.seconds, 3) if timing else None,
        "date": timing.finished if timing else None,
    }


def _unfinished_row(store: Store, run: str) -> Row:
    checkpoint = store.checkpoint(run)
    row = _row(run, outcome="unfinished", size_bytes=folder_size(checkpoint.parent))
    row |= _common([_of_spec(spec) for spec in store.unfinished_specs(run)])
    try:
        changed = datetime.fromtimestamp(checkpoint.stat().st_mtime, tz=UTC)
    except OSError:
        return row
    return row | {"date": changed.isoformat(timespec="seconds")}


def _sent_rows(store: Store) -> dict[str, Row]:
    """A row for each run that is on its way through SLURM, by its id: queued, running, or ended and not fetched yet."""
    from relubench.executors.slurm_flight import flights

    folders = flights(store.root / "slurm")
    if not folders:
        return {}
    from relubench.executors.slurm_queue import state_words, states
    from relubench.runs.spec import RunSpec

    queue, finished, rows = states() or {}, set(store.ids()), dict[str, Row]()
    for folder in folders:
        outcome, size = state_words(folder, queue), folder_size(folder.path)
        for spec in folder.specs():
            run = RunSpec.from_json(spec).id
            if run not in finished:
                rows[run] = _row(run, outcome=outcome, size_bytes=size) | _of_spec(spec)
    return rows


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
    return {"id": run, **dict.fromkeys(keys), "outcome": outcome, **tail, **dict.fromkeys(OF_TASK)}


def _score_of(result: RunResult) -> Row:
    """OF_TASK of a run: its task, the task's metric where this program knows the task, and its score."""
    name = result.spec.get("task", CLASSIFICATION)
    task, score = TASKS.get(name), result.test_score
    rounded = score if score is None or task is None else task.rounded(score)
    return {"task": name, "metric": task and task.metric, "test_metric": rounded}


def _human_readable(rows: Sequence[Row]) -> list[Row]:
    """The rows as a table shows them: scores, sizes and times that are read at a glance."""
    has_errors_alone = all(row["task"] in (None, CLASSIFICATION) for row in rows)
    names = {"batch_size": "batch size", "seconds": "time", "size_bytes": "size"}
    names["test_error_pct"] = "error %" if has_errors_alone else "score"
    table = []
    for row in rows:
        texts = {"date": (row["date"] or "")[:16].replace("T", " ")}
        texts["test_error_pct"] = fixed(row["test_error_pct"]) if has_errors_alone else _score_text(row)
        texts |= {"seconds": duration(row["seconds"]), "size_bytes": readable(row["size_bytes"])}
        table.append({names.get(key, key): texts.get(key, row[key]) for key in row if key not in OF_TASK})
    return table


def _score_text(row: Row) -> str:
    """'error 1.43 %': a run's score with its name, in a list of runs of several tasks."""
    score, task = row["test_metric"], TASKS.get(row["task"])
    if score is None:
        return ""
    return f"{task.noun} {task.text(score)}" if task else f"{score:.{NUMBER_DECIMALS}f}"


def _setting_rows(store: Store, result: RunResult, timing: Timing | None) -> list[Row]:
    """Everything about a run that is one value, a row each."""
    facts: Row = {**result.spec, "id": result.id, "outcome": result.outcome, "message": result.message or None}
    facts |= {"backend": _backend(result.spec)}
    facts |= {"path": result.path, "epochs_trained": result.epochs, "best_epoch": result.best_epoch}
    facts |= {"valid_error_pct": result.valid_error_pct, "test_error_pct": result.test_error_pct}
    metrics = {"valid_metric": result.valid_metric, "test_metric": result.test_metric}
    facts |= metrics if result.test_metric is not None else {}
    facts |= {"test_examples": result.test_examples, "sparsity_pct": result.sparsity_pct}
    facts |= {"near_zeros_pct": result.near_zeros_pct, "dead_units_pct": result.dead_units_pct}
    if timing is not None:
        facts |= {"seconds": timing.seconds, "images_per_second": timing.images_per_second}
        facts |= {"host": timing.host, "finished": timing.finished, "interruptions": timing.interruptions}
    facts |= {f"version of {name}": version for name, version in result.versions.items()}
    facts |= {"folder": str(store.folder(result.id)), "size": readable(folder_size(store.folder(result.id)))}
    return [{"name": name, "value": _plain(value)} for name, value in _rounded(facts).items() if value is not None]


def _backend(spec: Row) -> str | None:
    """What multiplied the network's dense layers; None where the record is another version's and does not say."""
    from relubench.models.backend import backend_of
    from relubench.runs.spec import RunSpec

    with contextlib.suppress(KeyError, TypeError):
        return backend_of(RunSpec.from_json(spec))
    return None


def layers_of(store: Store, result: RunResult) -> list[PretrainedLayer]:
    """The pre-trained layers that the run started from, as far as they are stored; none for a run without."""
    if not result.spec.get("stack"):
        return []
    from relubench.runs.layer_id import layer_id
    from relubench.runs.spec import RunSpec

    spec = RunSpec.from_json(result.spec)
    assert spec.stack is not None
    layers = [store.layer(layer_id(spec, layer)) for layer in range(spec.stack.layers)]
    return [layer for layer in layers if layer is not None]


def _layer_curves(layers: Sequence[PretrainedLayer]) -> list[Report]:
    """Reconstruction errors, and free energies where there are any, of each layer by epoch."""
    tables = []
    for layer in layers:
        points = [asdict(point) for point in layer.curve]
        rows = _without_empty_columns(points)
        title = f"pre-training of layer {layer.layer}, {layer.units} units: mean squared reconstruction errors"
        title += ", free energies in nats" if rows and "train_free_energy" in rows[0] else ""
        tables += [listing("runs show", rows, title=f"{title}{f' ({layer.message})' if layer.message else ''}")]
    return [table for table in tables if table.rows]


def _probe_tables(result: RunResult) -> list[Report]:
    """What the probes measured by epoch and layer, and the dead units; nothing for a run without."""
    probes = [{key: value for key, value in asdict(probe).items() if key != "quantiles"} for probe in result.probes]
    regions = [{"epoch": regions.epoch, "linear_pieces": regions.lines} for regions in result.regions]
    dead_units = [asdict(layer) for layer in result.dead_units]
    measured: dict[int, Row] = {}
    for value in result.measured:
        measured.setdefault(value.epoch, {"epoch": value.epoch})[value.name] = value.value
    tables = [
        (
            _without_empty_columns(probes),
            "hidden layers on the probe images",
            ("idle_columns", "variance", "mean", "cut_off"),
        ),
        (dead_units, "dead units on the training set, after the last epoch", ()),
        (regions, "linear pieces along lines between images", ()),
        (list(measured.values()), "measured of the whole network", ()),
    ]
    return [
        listing("runs show", rows, title=title, drop_order=drop_order) for rows, title, drop_order in tables if rows
    ]


def _without_empty_columns(rows: Sequence[Row]) -> list[Row]:
    """The rows without the keys that have no value in any of them."""
    keys = {key for row in rows for key, value in row.items() if value is not None}
    return [{key: value for key, value in row.items() if key in keys} for row in rows]


def _plain(value: Any) -> Any:
    """A value in one line: dimensions as 28x28, a mapping as its keys and values."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner not in ("", [], None))
    return "x".join(str(item) for item in value) if isinstance(value, (list, tuple)) else value
