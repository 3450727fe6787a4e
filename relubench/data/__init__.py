"""Data sets, prepared once as plain arrays that training processes map into memory. Torch-free."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relubench.data.description import lines_about as lines_about
    from relubench.data.preparation import prepare as prepare
    from relubench.data.preparation import prepared_already as prepared_already
    from relubench.data.preparation import status as status
    from relubench.data.prepared import DataOptions as DataOptions
    from relubench.data.prepared import DataReference as DataReference
    from relubench.data.prepared import PreparedData as PreparedData
    from relubench.data.prepared import arrays as arrays
    from relubench.data.prepared import training_images as training_images
    from relubench.data.source_row import SourceRow as SourceRow
    from relubench.data.split_arrays import Split as Split
    from relubench.data.table import NOT_PUBLIC as NOT_PUBLIC
    from relubench.data.table import TABLE as TABLE
    from relubench.data.table import split_row as split_row
    from relubench.data.table_outline import outline as outline

_HOME = {
    "outline": "table_outline",
    "prepare": "preparation",
    "prepared_already": "preparation",
    "status": "preparation",
    "DataOptions": "prepared",
    "DataReference": "prepared",
    "PreparedData": "prepared",
    "Split": "split_arrays",
    "arrays": "prepared",
    "training_images": "prepared",
    "lines_about": "description",
    "NOT_PUBLIC": "table",
    "TABLE": "table",
    "split_row": "table",
    "SourceRow": "source_row",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
