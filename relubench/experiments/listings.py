"""What can be named: the rows of `relubench list KIND` and of `relubench.list_KIND()`. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relubench.activations import ACTIVATIONS
from relubench.activations.formulas.functions import FUNCTIONS
from relubench.data import TABLE, status
from relubench.data.table import PERTURBED
from relubench.models.families import listed_models
from relubench.system.paths import user_path

Row = dict[str, Any]


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
            "shape": "x".join(str(size) for size in row.input_shape),
            "train": row.n_train,
            "valid": row.n_valid,
            "test": row.n_test,
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


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
