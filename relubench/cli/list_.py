"""`relubench list KIND`: what can be named on the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from relubench.cli import options, output
from relubench.errors import UsageError
from relubench.lookup import find

Row = dict[str, Any]

LEAVING = ("source", "gain", "learned", "family")
"""What a narrow terminal can do without."""


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="What to list: activations, datasets, models, formats or presets.",
            autocompletion=lambda incomplete: [name for name in KINDS if name.startswith(incomplete)],
        ),
    ] = None,
    data_dir: options.DataDir = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """List what can be named: activations, datasets, models, formats or presets. The first column is the name."""
    if kind is None:
        raise UsageError("list needs to know what to list", f"`relubench list KIND`: {', '.join(KINDS)}")
    rows_of = find(kind, KINDS, kind="list", see=f"lists are {', '.join(KINDS)}")
    if data_dir is not None and kind != "datasets":
        raise UsageError(f"--data-dir means nothing to the {kind}", "it belongs to `relubench list datasets`")
    target = output.choose(format, output_file)
    output.emit_listings([output.Listing(rows=rows_of(data_dir), title=kind, leaving=LEAVING)], "list", target)


def _activations(data_dir: Path | None) -> list[Row]:
    from relubench.activations import ACTIVATIONS

    return [
        {
            "name": row.name,
            "family": row.family,
            "formula": row.formula,
            "parameters": ":".join(f"{key}={_short(value)}" for key, value in row.parameters.items()) or None,
            "gain": round(row.gain, 4),
            "learned": ", ".join(row.learned) or None,
            "year": row.year,
            "source": row.source,
        }
        for row in ACTIVATIONS.values()
    ]


def _datasets(data_dir: Path | None) -> list[Row]:
    from relubench.data import TABLE, status

    return [
        {
            "name": row.name,
            "classes": row.classes,
            "shape": "x".join(str(size) for size in row.input_shape),
            "train": row.n_train,
            "valid": row.n_valid,
            "test": row.n_test,
            "present": "yes" if status(row.name, data_dir).startswith("present") else "no",
            "source": row.citation,
        }
        for row in TABLE.values()
    ]


def _models(data_dir: Path | None) -> list[Row]:
    from relubench.architecture import MODELS

    return [{"name": name, "description": description} for name, description in MODELS.items()]


def _formats(data_dir: Path | None) -> list[Row]:
    from relubench.reports.render import FORMATS

    suffixes = {name: suffix for suffix, name in output.SUFFIXES.items()}
    return [{"name": name, "suffix": suffixes.get(name)} for name in FORMATS]


def _presets(data_dir: Path | None) -> list[Row]:
    from relubench.preset.catalogue import listing

    return listing()


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


KINDS: dict[str, Callable[[Path | None], list[Row]]] = {
    "activations": _activations,
    "datasets": _datasets,
    "models": _models,
    "formats": _formats,
    "presets": _presets,
}
