"""What a study would cost, in words: a line for each variant, and one for all of them. Torch-free."""

from __future__ import annotations

from relubench.experiments.cost import Price, PriceRow
from relubench.reports.formatting import count, duration
from relubench.reports.report import Report, Row, listing

DROP_ORDER = ("basis", "data here", "stored", "layers", "disk", "tuning runs", "model", "dataset")
"""Columns that a narrow terminal does without, first to last."""


def cost_report(price: Price, name: str) -> Report:
    """The price of the study of this name: a row for each variant, and what all of it takes for a title."""
    rows = [row.to_json() for row in price.rows]
    title = f"{name}: {_cost_sentence(price)}"
    human_rows = [_human_readable(row) for row in price.rows]
    return listing("run", rows, title=title, human_rows=human_rows, drop_order=DROP_ORDER)


def _human_readable(row: PriceRow) -> Row:
    """The row as people read it."""
    amounts = {"time": duration(3600 * row.hours), "disk": _megabytes(row.disk_bytes)}
    facts = {"variant": row.variant or "all", "dataset": row.dataset, "data here": row.data, "model": row.model}
    numbers = {"runs": row.runs, "stored": row.stored, "tuning runs": row.tuning_runs}
    numbers |= {"layers": row.layers} if row.layers else {}
    return {**facts, **numbers, **amounts, "basis": row.basis}


def _cost_sentence(price: Price) -> str:
    """The price in one line: `24 runs, 3 of them stored, about 2h05m on 2 workers, 269 MB`."""
    rows = price.rows
    worker_seconds = 3600 * sum(row.hours for row in rows)
    seconds = worker_seconds / price.workers
    keys = ("runs", "stored", "tuning_runs", "layers")
    num_runs, num_stored, num_tuning_runs, num_layers = (sum(getattr(row, key) for row in rows) for key in keys)
    missing_datasets = dict.fromkeys(row.dataset for row in rows if row.data == "no")
    workers = f"{count(price.workers, 'worker')} ({price.device})"
    parts = [
        count(num_runs, "run"),
        f"{num_stored} of them stored" if num_stored else "",
        f"{num_tuning_runs} tuning runs" if num_tuning_runs else "",
        f"{count(num_layers, 'layer')} to pre-train" if num_layers else "",
        f"about {duration(seconds)} on {workers}" if price.pending else "nothing to train",
        f"{duration(worker_seconds)} of one worker, as in the rows" if price.pending and price.workers > 1 else "",
        f"{price.threads * worker_seconds / 3600:.2g} processor-hours" if price.threads else "",
        f"{_megabytes(sum(row.disk_bytes for row in rows))} of disk",
        f"not here yet: {', '.join(missing_datasets)}" if missing_datasets else "",
    ]
    return ", ".join(part for part in parts if part)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
