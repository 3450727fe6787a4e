"""What can be named: the rows of `relubench list KIND` and of `relubench.list_KIND()`. Imports no torch.

A new list is a function and a row of LISTS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from relubench.activations import ACTIVATIONS
from relubench.activations.formulas.functions import FUNCTIONS
from relubench.data import TABLE, status
from relubench.data.table import PERTURBED
from relubench.models.families import listed_models
from relubench.reports.render import FORMATS
from relubench.reports.report import Report, Row, footnotes, listing
from relubench.system.paths import user_path


def list_activations() -> list[Row]:
    """One row for each activation of the table: name, family, formula, parameters, gain, year and source."""
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


def list_functions() -> list[Row]:
    """One row for each function that a formula may call: name, how it is written, and what it means."""
    return [
        {
            "name": row.name,
            "written": row.signature,
            "meaning": row.formula,
            "also": ", ".join(row.also.split()) or None,
        }
        for row in FUNCTIONS.values()
    ]


def list_datasets(data_dir: str | Path | None = None) -> list[Row]:
    """One row for each data set of the table: name, sizes, whether its files are present, and source."""
    folder = user_path(data_dir) if data_dir is not None else None
    return [
        {
            "name": row.name,
            "classes": row.classes,
            "shape": "x".join(str(size) for size in row.input_shape) or "text",
            # A text in a package has the size that the package gives it.
            "train": row.n_train or None,
            "valid": row.n_valid or None,
            "test": row.n_test or None,
            "present": "yes" if status(row.name, folder).startswith("present") else "no",
            "source": row.citation + (f"; NAME{PERTURBED} is the same of any grey set NAME" if row.base else ""),
        }
        for row in TABLE.values()
    ]


def list_models() -> list[Row]:
    """One row for each model, those of torchvision included: name and description."""
    return [{"name": name, "description": description} for name, description in listed_models().items()]


def list_presets() -> list[Row]:
    """One row for each preset: its name, what it is, and its runs at each scale."""
    from relubench.experiments.presets.catalogue import listing

    return listing()


def list_references() -> list[Row]:
    """One row for each published number that relubench knows, with its source."""
    from relubench.experiments.reference_catalogue import catalogue

    return list(catalogue())


def list_formats() -> list[Row]:
    """One row for each output format: its name, and the suffix of a file that is written in it."""
    return [{"name": name, "suffix": format.suffix} for name, format in FORMATS.items()]


def list_columns() -> list[Row]:
    """One row for each column of a table of training: its name, its unit and its meaning."""
    from relubench.reports.training.columns import COLUMNS

    return [{"name": key.name, "in": key.unit or None, "meaning": key.meaning} for key in COLUMNS if key.meaning]


def list_figures() -> list[Row]:
    """One row for each figure that --plot and a page draw: its name and what it shows."""
    from relubench.reports.figures.table import FIGURES

    return [{"name": name, "shows": row.meaning} for name, row in FIGURES.items()]


LISTS: dict[str, Callable[..., list[Row]]] = {
    "activations": list_activations,
    "functions": list_functions,
    "datasets": list_datasets,
    "models": list_models,
    "formats": list_formats,
    "references": list_references,
    "presets": list_presets,
    "columns": list_columns,
    "figures": list_figures,
}
"""Kind of a list -> its rows; that of the data sets takes the folder of --data-dir."""


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
"""Lines under a list."""

DROP_ORDER = (
    "read in",
    "protocol",
    "note",
    "source",
    "table",
    "unit",
    "condition",
    "gain",
    "learned",
    "family",
    "also",
)
"""Columns that a narrow terminal does without, first to last."""


def list_report(kind: str, data_dir: Path | None) -> Report:
    """A list as a table; people read the references table by table, as their sources have them."""
    rows = LISTS[kind](data_dir) if kind == "datasets" else LISTS[kind]()
    tables = _by_table(rows) if kind == "references" else ()
    notes = footnotes(NOTES.get(kind, ()))
    return listing("list", rows, title=kind, drop_order=DROP_ORDER, notes=notes, tables=tables)


def _by_table(rows: list[Row]) -> list[Report]:
    """The references as their sources have them, table by table: the name says what a number is of."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        page = row["page"] and f"page {row['page']}"
        groups.setdefault(", ".join(filter(None, (row["source"], row["table"], page))), []).append(row)
    return [
        listing(
            "list",
            [{key: row[key] for key in ("name", "value", "unit", *_note_key(group))} for row in group],
            title=title,
            drop_order=DROP_ORDER,
            notes=footnotes([*dict.fromkeys(row["protocol"] for row in group), *_read_elsewhere(group)]),
        )
        for title, group in groups.items()
    ]


def _note_key(group: list[Row]) -> list[str]:
    return ["note"] if any(row["note"] for row in group) else []


def _read_elsewhere(group: list[Row]) -> list[str]:
    return [f"read in {row['read in']}" for row in group if row["read in"] != "the source"][:1]


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
