"""torchvision, imported late; the error says how to repair it where it is missing or does not fit torch."""

from __future__ import annotations

import importlib
from typing import Any

from relubench.errors import ComputeError

REPAIR = "pip install --force-reinstall torch torchvision"


def torchvision_datasets() -> Any:
    """The module torchvision.datasets; raises ComputeError if torch and torchvision are missing or a broken pair."""
    return _import("torchvision.datasets")


def torchvision_dataset_tools() -> Any:
    """The module torchvision.datasets.utils: its downloader."""
    return _import("torchvision.datasets.utils")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    # A CPU-only torch beside the registry's torchvision: "RuntimeError: operator torchvision::nms does not exist".
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise ComputeError(
            f"torchvision cannot be imported: {error}", f"install both from one place, in one command: {REPAIR}"
        ) from error
