"""Activations: the table, the --act grammar, and their functions. Importing this does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relubench.activations.choice import ActivationChoice
from relubench.activations.row import FAMILIES, ActivationRow
from relubench.activations.selection import select
from relubench.activations.table import ACTIVATIONS

if TYPE_CHECKING:
    from relubench.activations.builder import build
    from relubench.activations.checks.activation_check import ActivationCheck, check_activation, matched_gain

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "ActivationCheck",
    "ActivationChoice",
    "ActivationRow",
    "build",
    "check_activation",
    "matched_gain",
    "select",
]


def __getattr__(name: str) -> Any:
    """The name from a module that needs torch, which is imported only now."""
    if name == "build":
        from relubench.activations import builder

        return builder.build
    if name in ("ActivationCheck", "check_activation", "matched_gain"):
        from relubench.activations.checks import activation_check

        return getattr(activation_check, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
