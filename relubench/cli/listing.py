"""`relubench list KIND`: what can be named on the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from relubench.cli import options, output
from relubench.errors import UsageError
from relubench.system.lookup import find

Row = dict[str, Any]

NOTES = {
    "datasets": (
        "NAME+nistp is the grey set NAME with the perturbations of NISTP, 32x32: mnist+nistp, digits+nistp, ...; "
        "nistp-like is emnist-byclass's",
    ),
    "functions": (
        "as they are written in PyTorch, NumPy, JAX, Keras and math, too: torch.tanh(x), x.clamp(min=0), nn.Tanh()(x)",
        "a formula has x, numbers, pi, e, + - * / ** (or ^), < <= > >= == !=, |x|, a if c else b, and, or, not",
        "a parameter's value follows: 'x*sigmoid(b*x), b=1.7', or b~1.7 where it is learned, one value a layer",
    ),
}
"""Lines under a list, for people."""

DROP_ORDER = ("read in", "protocol", "note", "source", "table", "unit", "condition", "gain", "learned", "family")
"""Columns that a narrow terminal does without, first to last."""


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="What to list: activations, functions, datasets, models, presets, references, formats or columns.",
            autocompletion=lambda incomplete: [name for name in KINDS if name.startswith(incomplete)],
        ),
    ] = None,
    data_dir: options.DataDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """List what can be named: activations, functions (of formulas), datasets, models, presets, references, formats.

    `list columns` says what the columns of a table mean. The name comes first.
    """
    if kind is None:
        raise UsageError("list needs to know what to list", f"`relubench list KIND`: {', '.join(KINDS)}")
    rows_of = find(kind, KINDS, kind="list", see=f"lists are {', '.join(KINDS)}")
    if data_dir is not None and kind != "datasets":
        raise UsageError(f"--data-dir means nothing to the {kind}", "it belongs to `relubench list datasets`")
    target = output.choose(format, output_file)
    rows = rows_of(data_dir)
    if kind == "references" and target.for_people:
        output.emit_listings(_by_table(rows), "list", target)
        return
    listing = output.Listing(rows=rows, title=kind, drop_order=DROP_ORDER, notes=NOTES.get(kind, ()))
    output.emit_listings([listing], "list", target)


def _by_table(rows: list[Row]) -> list[output.Listing]:
    """The references as their sources have them, table by table: the name says what a number is of."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        page = row["page"] and f"page {row['page']}"
        groups.setdefault(", ".join(filter(None, (row["source"], row["table"], page))), []).append(row)
    return [
        output.Listing(
            rows=[{key: row[key] for key in ("name", "value", "unit", *_note_key(group))} for row in group],
            title=title,
            notes=[*dict.fromkeys(row["protocol"] for row in group), *_read_elsewhere(group)],
        )
        for title, group in groups.items()
    ]


def _note_key(group: list[Row]) -> list[str]:
    return ["note"] if any(row["note"] for row in group) else []


def _read_elsewhere(group: list[Row]) -> list[str]:
    return [f"read in {row['read in']}" for row in group if row["read in"] != "the source"][:1]


def _activations(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.listings import list_activations

    return list_activations()


def _functions(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.listings import list_functions

    return list_functions()


def _datasets(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.listings import list_datasets

    return list_datasets(data_dir)


def _models(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.listings import list_models

    return list_models()


def _formats(data_dir: Path | None) -> list[Row]:
    from relubench.reports.render import FORMATS

    suffixes = {name: suffix for suffix, name in output.SUFFIXES.items()}
    return [{"name": name, "suffix": suffixes.get(name)} for name in FORMATS]


def _references(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.reference_catalogue import catalogue

    return list(catalogue())


def _columns(data_dir: Path | None) -> list[Row]:
    from relubench.reports.training.columns import MEANINGS

    return [{"name": name, "in": unit or None, "meaning": meaning} for name, (unit, meaning) in MEANINGS.items()]


def _presets(data_dir: Path | None) -> list[Row]:
    from relubench.experiments.presets.catalogue import listing

    return listing()


KINDS: dict[str, Callable[[Path | None], list[Row]]] = {
    "activations": _activations,
    "functions": _functions,
    "datasets": _datasets,
    "models": _models,
    "formats": _formats,
    "references": _references,
    "presets": _presets,
    "columns": _columns,
}
