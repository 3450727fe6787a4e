"""Activations: the table, the --act grammar, and their functions. Importing this does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relubench.activations.choice import ActivationChoice
from relubench.activations.row import FAMILIES, ActivationRow
from relubench.activations.selection import select
from relubench.activations.table import ACTIVATIONS

if TYPE_CHECKING:
    from relubench.activations.builder import build
    from relubench.activations.checks.probe import Probe, matched_gain, probe

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "ActivationChoice",
    "ActivationRow",
    "Probe",
    "build",
    "matched_gain",
    "probe",
    "select",
]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name == "build":
        from relubench.activations import builder

        return builder.build
    if name in ("Probe", "matched_gain", "probe"):
        from relubench.activations.checks import probe as probing

        return getattr(probing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
